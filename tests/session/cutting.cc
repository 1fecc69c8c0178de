#include "tests/session/cutting.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/iovec_window.h"
#include "channels/tcp.h"
#include "tests/session/wrapped_lines.h"
#include "wire/framing.h"

namespace ferry::test {

std::uint16_t frame_type(std::span<const iovec> message) {
  const iovec& piece = message.front();
  ByteReader fields({static_cast<const std::byte*>(piece.iov_base), piece.iov_len});
  if (fields.u32() != wire::k_control_form.magic) return 0;
  fields.u32();
  return fields.u16();
}

/// It has no facets, so that a Hello too is one write.
class Scissors::Line final : public Channel {
 public:
  Line(Scissors& scissors, std::unique_ptr<Channel> inner)
      : scissors_(scissors), inner_(std::move(inner)) {}
  ~Line() override { scissors_.leave(*this); }

  Result<std::size_t> read_some(std::span<const iovec> into) override {
    auto got = inner_->read_some(into);
    // The answer to a COMMIT may be faster than the cut behind it.
    if (scissors_.deaf()) return fail(Errc::disconnected, "read: the line is cut");
    return got;
  }
  Result<void> write(std::span<const iovec> from, Loan loan) override {
    scissors_.before(from);
    FERRY_TRY(inner_->write(from, loan));
    scissors_.after(from);
    return {};
  }
  Result<void> flush() override { return inner_->flush(); }
  Result<void> finish() override { return inner_->finish(); }
  void cancel(Errc why) noexcept override { inner_->cancel(why); }
  const ChannelInfo& info() const noexcept override { return inner_->info(); }

 private:
  Scissors& scissors_;
  std::unique_ptr<Channel> inner_;
};

std::unique_ptr<Channel> Scissors::on(std::unique_ptr<Channel> channel) {
  auto line = std::make_unique<Line>(*this, std::move(channel));
  const std::scoped_lock lock(mutex_);
  lines_.push_back(line.get());
  if (cut_) line->cancel(Errc::disconnected);
  return line;
}

void Scissors::leave(Line& line) {
  const std::scoped_lock lock(mutex_);
  std::erase(lines_, &line);
}

/// Whoever writes in vain finds its channel cut.
void Scissors::before(std::span<const iovec> message) {
  const std::scoped_lock lock(mutex_);
  if (left_ == 0) return cut();
  --left_;
  commit_passed_ |= frame_type(message) == k_commit_type;
}

void Scissors::after(std::span<const iovec> message) {
  const std::scoped_lock lock(mutex_);
  if (left_ == 0 || (behind_commit_ && frame_type(message) == k_commit_type)) cut();
}

/// With the mutex held.
void Scissors::cut() {
  cut_ = true;
  for (Line* const line : lines_) line->cancel(Errc::disconnected);
}

bool Scissors::deaf() const {
  const std::scoped_lock lock(mutex_);
  return behind_commit_ && commit_passed_;
}

bool Scissors::commit_passed() const {
  const std::scoped_lock lock(mutex_);
  return commit_passed_;
}

std::unique_ptr<Transport> cut_tcp(Scissors& scissors, Side side) {
  const Wrap cut = [&scissors](std::unique_ptr<Channel> channel) {
    return scissors.on(std::move(channel));
  };
  const bool at_source = side == Side::source;
  return wrap_lines(make_tcp_transport(), at_source ? cut : Wrap(), at_source ? Wrap() : cut);
}

}  // namespace ferry::test
