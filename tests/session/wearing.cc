#include "tests/session/wearing.h"

#include <utility>

#include "base/iovec_window.h"

namespace ferry::test {
namespace {

class WearingChannel final : public Channel, private Wear {
 public:
  WearingChannel(std::unique_ptr<Channel> inner, std::uint64_t bytes)
      : inner_(std::move(inner)), most_(bytes) {}

  Result<std::size_t> read_some(std::span<const iovec> into) override {
    return inner_->read_some(into);
  }
  Result<void> write(std::span<const iovec> from, Loan loan) override {
    written_ += total_bytes(from);
    return inner_->write(from, loan);
  }
  Result<void> flush() override { return inner_->flush(); }
  Result<void> finish() override { return inner_->finish(); }
  void cancel(Errc why) noexcept override { inner_->cancel(why); }
  const ChannelInfo& info() const noexcept override { return inner_->info(); }
  Facets facets() noexcept override {
    Facets facets = inner_->facets();
    facets.wear = this;
    return facets;
  }

 private:
  bool worn() const noexcept override { return written_ >= most_; }

  const std::unique_ptr<Channel> inner_;
  const std::uint64_t most_;
  std::uint64_t written_ = 0;  // the writing thread's
};

}  // namespace

std::unique_ptr<Channel> wearing(std::unique_ptr<Channel> inner, std::uint64_t bytes) {
  return std::make_unique<WearingChannel>(std::move(inner), bytes);
}

std::unique_ptr<Transport> wear_lines(std::unique_ptr<Transport> inner, std::uint64_t bytes) {
  return wrap_lines(
      std::move(inner),
      [bytes](std::unique_ptr<Channel> channel) { return wearing(std::move(channel), bytes); }, {});
}

}  // namespace ferry::test
