#include "tests/multifd/placing_line.h"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>

#include "base/cancel_reason.h"
#include "channels/socket_channel.h"

namespace ferry::test {

struct PlacingGround {
  std::mutex mutex;  // guards the rest; held while bytes are copied, so that withdraw() waits
  std::condition_variable changed;
  const GuestMemory* memory = nullptr;
  bool closed = false;  // withdrawn, or its end is gone
};

namespace {

constexpr unsigned k_depth = 4;
constexpr std::size_t k_stagings = 3;
constexpr const char* k_act = "put pages";

bool lies_in(std::span<const std::byte> part, std::span<const std::byte> whole) {
  const std::less_equal<const std::byte*> before;
  return before(whole.data(), part.data()) &&
         before(part.data() + part.size(), whole.data() + whole.size());
}

class Puts final : public PlacedIo {
 public:
  Puts(std::shared_ptr<PlacingGround> ground, PlacingOptions options)
      : ground_(std::move(ground)), options_(std::move(options)) {}

  Result<void> attach(const GuestMemory& memory) override {
    if (options_.pinning == Pinning::staging_alone) {
      return fail(Errc::system, "pin memory: only so much may be locked", "ulimit -l unlimited");
    }
    attached_ = &memory;
    return {};
  }

  Result<std::span<std::byte>> staging(std::size_t bytes) override {
    std::vector<std::byte>& next = stagings_[next_staging_++ % k_stagings];
    next.resize(bytes);
    while (std::ranges::any_of(puts_, [&](const Put& put) { return lies_in(put.from, next); })) {
      FERRY_TRY(settle());
    }
    staging_ = next;
    return staging_;
  }

  Result<void> put(const PageRun& run, std::span<const std::byte> from) override {
    if (failure_) return std::unexpected(*failure_);
    if (!may_put_from(from) || from.size() != run.length) {
      return remember(fail(Errc::usage, "put pages: from memory that was never pinned"));
    }
    if (puts_.size() == k_depth) FERRY_TRY(settle());
    puts_.push_back({.run = run, .from = from});
    return options_.landing == Landing::at_once ? land_all() : Result<void>{};
  }
  Result<void> get(const PageRun&, std::span<std::byte>) override {
    return fail(Errc::unsupported, "get pages: nobody does that over this line");
  }
  Result<void> settle() override {
    FERRY_TRY(land(puts_.front()));
    puts_.pop_front();
    return {};
  }
  unsigned under_way() const noexcept override { return static_cast<unsigned>(puts_.size()); }
  unsigned depth() const noexcept override { return k_depth; }
  Result<void> flush() override {
    while (!puts_.empty()) FERRY_TRY(settle());
    return {};
  }

  /// Before bytes are written behind it.
  Result<void> land_all() {
    for (Put& put : puts_) FERRY_TRY(land(put));
    return {};
  }

  /// Thread-safe.
  void cancel(Errc why) noexcept {
    cancelled_.give(why);
    const std::scoped_lock lock(ground_->mutex);
    ground_->changed.notify_all();
  }

 private:
  struct Put {
    PageRun run;
    std::span<const std::byte> from;
    bool landed = false;
  };

  bool may_put_from(std::span<const std::byte> from) const {
    if (lies_in(from, staging_)) return true;
    if (attached_ == nullptr) return false;
    return std::ranges::any_of(attached_->regions(), [&](const MemoryRegion& region) {
      return region.host != nullptr && lies_in(from, std::span(region.host, region.length));
    });
  }

  Result<void> land(Put& put) {
    if (failure_) return std::unexpected(*failure_);
    if (std::exchange(put.landed, true)) return {};
    std::unique_lock lock(ground_->mutex);
    ground_->changed.wait(lock, [this] {
      return cancelled_.given() || ground_->closed || ground_->memory != nullptr;
    });
    if (auto reason = cancelled_.error(k_act)) return remember(std::unexpected(*reason));
    if (ground_->closed) {
      return remember(fail(Errc::disconnected, "put pages: the peer has taken that right back"));
    }
    const auto place = ground_->memory->at(put.run);
    if (!place) return remember(std::unexpected(place.error()));
    std::memcpy(place->data(), put.from.data(), put.from.size());
    for (const std::uint64_t flip : options_.flips) {
      if (flip >= done_ && flip - done_ < place->size()) (*place)[flip - done_] ^= std::byte{1};
    }
    done_ += place->size();
    return {};
  }

  Result<void> remember(Result<void> failed) {
    failure_ = failed.error();
    return failed;
  }

  const std::shared_ptr<PlacingGround> ground_;
  const PlacingOptions options_;
  CancelReason cancelled_;
  const GuestMemory* attached_ = nullptr;
  std::array<std::vector<std::byte>, k_stagings> stagings_;
  std::size_t next_staging_ = 0;
  std::span<std::byte> staging_;  // the last one
  std::deque<Put> puts_;          // not settled
  std::uint64_t done_ = 0;        // bytes
  std::optional<Error> failure_;
};

class PlacingChannel final : public Channel, private PlacedTarget {
 public:
  PlacingChannel(std::unique_ptr<Channel> inner, std::shared_ptr<PlacingGround> ours,
                 std::shared_ptr<PlacingGround> theirs, const PlacingOptions& options)
      : inner_(std::move(inner)), ours_(std::move(ours)), puts_(std::move(theirs), options) {}
  ~PlacingChannel() override { close(); }

  Result<std::size_t> read_some(std::span<const iovec> into) override {
    return inner_->read_some(into);
  }
  Result<void> write(std::span<const iovec> from, Loan loan) override {
    FERRY_TRY(puts_.land_all());
    return inner_->write(from, loan);
  }
  Result<void> flush() override { return inner_->flush(); }
  Result<void> finish() override { return inner_->finish(); }
  void cancel(Errc why) noexcept override {
    inner_->cancel(why);
    puts_.cancel(why);
  }
  const ChannelInfo& info() const noexcept override { return inner_->info(); }
  Facets facets() noexcept override {
    Facets facets = inner_->facets();
    facets.placed_io = &puts_;
    facets.placed_target = this;
    return facets;
  }

 private:
  Result<void> pin(const GuestMemory&, std::stop_token) override { return {}; }
  Result<void> admit(const GuestMemory& memory) override {
    for (const MemoryRegion& region : memory.regions()) {
      if (region.host != nullptr || region.length == 0) continue;
      return fail(Errc::unsupported, "admit memory: '" + region.name + "' is not mapped");
    }
    const std::scoped_lock lock(ours_->mutex);
    ours_->memory = &memory;
    ours_->changed.notify_all();
    return {};
  }
  void withdraw() noexcept override { close(); }
  void close() noexcept {
    const std::scoped_lock lock(ours_->mutex);
    ours_->closed = true;
    ours_->changed.notify_all();
  }

  const std::unique_ptr<Channel> inner_;
  const std::shared_ptr<PlacingGround> ours_;
  Puts puts_;
};

}  // namespace

std::shared_ptr<PlacingGround> make_placing_ground() { return std::make_shared<PlacingGround>(); }

std::unique_ptr<Channel> make_placing_end(std::unique_ptr<Channel> end,
                                          std::shared_ptr<PlacingGround> ours,
                                          std::shared_ptr<PlacingGround> theirs,
                                          const PlacingOptions& options) {
  return std::make_unique<PlacingChannel>(std::move(end), std::move(ours), std::move(theirs),
                                          options);
}

ChannelPair make_placing(ChannelPair line, const PlacingOptions& options) {
  const auto one = make_placing_ground();
  const auto other = make_placing_ground();
  return {make_placing_end(std::move(line.first), one, other, options),
          make_placing_end(std::move(line.second), other, one, options)};
}

ChannelPair make_placing_pair(const PlacingOptions& options) {
  return make_placing(make_socket_pair().value(), options);
}

}  // namespace ferry::test
