#include "tests/session/wrapped_lines.h"

#include <utility>

#include "ferry/event_loop.h"

namespace ferry::test {
namespace {

std::unique_ptr<Channel> wrapped(std::unique_ptr<Channel> channel, const Wrap& wrap) {
  return wrap ? wrap(std::move(channel)) : std::move(channel);
}

class WrappingListener final : public Listener {
 public:
  WrappingListener(std::unique_ptr<Listener> inner, const Wrap& wrap)
      : inner_(std::move(inner)), wrap_(wrap) {}
  Task<std::unique_ptr<Channel>> accept() override {
    std::unique_ptr<Channel> channel = co_await inner_->accept();
    co_return wrapped(std::move(channel), wrap_);
  }
  Uri local() const override { return inner_->local(); }

 private:
  std::unique_ptr<Listener> inner_;
  const Wrap& wrap_;
};

class WrappingTransport final : public Transport {
 public:
  WrappingTransport(std::unique_ptr<Transport> inner, Wrap connected, Wrap accepted)
      : inner_(std::move(inner)),
        connected_(std::move(connected)),
        accepted_(std::move(accepted)) {}
  std::string_view scheme() const noexcept override { return inner_->scheme(); }
  Task<std::unique_ptr<Channel>> connect(EventLoop& loop, Uri to) override {
    std::unique_ptr<Channel> channel = co_await inner_->connect(loop, std::move(to));
    co_return wrapped(std::move(channel), connected_);
  }
  Task<std::unique_ptr<Listener>> listen(EventLoop& loop, Uri at) override {
    std::unique_ptr<Listener> listener = co_await inner_->listen(loop, std::move(at));
    co_return std::make_unique<WrappingListener>(std::move(listener), accepted_);
  }

 private:
  const std::unique_ptr<Transport> inner_;
  const Wrap connected_;
  const Wrap accepted_;
};

}  // namespace

std::unique_ptr<Transport> wrap_lines(std::unique_ptr<Transport> inner, Wrap connected,
                                      Wrap accepted) {
  return std::make_unique<WrappingTransport>(std::move(inner), std::move(connected),
                                             std::move(accepted));
}

}  // namespace ferry::test
