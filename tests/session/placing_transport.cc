#include "tests/session/placing_transport.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "channels/retold.h"
#include "channels/tcp.h"

namespace ferry::test {
namespace {

/// Brings the two ends of a TCP connection together, by the address of the one that connected.
class Pairs {
 public:
  explicit Pairs(PlacingOptions options) : options_(std::move(options)) {}

  std::unique_ptr<Channel> connected(std::unique_ptr<Channel> end) {
    const std::string name = end->info().local;
    return ours(name, std::move(end), Side::connected);
  }
  std::unique_ptr<Channel> accepted(std::unique_ptr<Channel> end) {
    const std::string name = end->info().peer;
    return ours(name, std::move(end), Side::accepted);
  }

 private:
  enum class Side { connected, accepted };
  struct Grounds {
    std::shared_ptr<PlacingGround> one = make_placing_ground();
    std::shared_ptr<PlacingGround> other = make_placing_ground();
  };

  std::unique_ptr<Channel> ours(const std::string& name, std::unique_ptr<Channel> end, Side side) {
    const std::scoped_lock lock(mutex_);
    const auto [known, first] = waiting_.try_emplace(name);
    Grounds grounds = known->second;
    if (!first) waiting_.erase(known);
    if (side == Side::accepted) std::swap(grounds.one, grounds.other);
    return make_placing_end(std::move(end), grounds.one, grounds.other, options_);
  }

  const PlacingOptions options_;
  std::mutex mutex_;  // guards the map: a test has a loop for each side
  std::map<std::string, Grounds> waiting_;
};

class PlacingListener final : public Listener {
 public:
  PlacingListener(std::unique_ptr<Listener> inner, Pairs& pairs)
      : inner_(std::move(inner)), pairs_(pairs) {}
  Task<std::unique_ptr<Channel>> accept() override {
    std::unique_ptr<Channel> channel = co_await inner_->accept();
    co_return pairs_.accepted(std::move(channel));
  }
  Uri local() const override {
    Uri local = inner_->local();
    local.scheme = "placing";
    return local;
  }

 private:
  const std::unique_ptr<Listener> inner_;
  Pairs& pairs_;
};

class PlacingTransport final : public Transport {
 public:
  explicit PlacingTransport(PlacingOptions options) : pairs_(std::move(options)) {}
  std::string_view scheme() const noexcept override { return "placing"; }
  std::optional<TransportAbilities> abilities() const noexcept override {
    return TransportAbilities{.placed_writes = true};
  }
  Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) override {
    to.scheme = "tcp";
    std::unique_ptr<Channel> channel = co_await tcp_->connect(loop, std::move(to));
    co_return pairs_.connected(std::move(channel));
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    at.scheme = "tcp";
    std::unique_ptr<Listener> inner = co_await tcp_->listen(loop, std::move(at));
    std::unique_ptr<Listener> listener =
        std::make_unique<PlacingListener>(std::move(inner), pairs_);
    co_return std::move(listener);
  }

 private:
  Pairs pairs_;
  const std::unique_ptr<Transport> tcp_ = make_tcp_transport();
};

}  // namespace

std::unique_ptr<Transport> make_placing_transport(PlacingOptions options) {
  return std::make_unique<PlacingTransport>(std::move(options));
}

}  // namespace ferry::test
