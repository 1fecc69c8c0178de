#include "channels/null.h"

#include "base/iovec_window.h"

namespace ferry {

Result<std::size_t> NullChannel::read_some(std::span<const iovec>) {
  if (auto reason = cancelled_.error("read from null")) return std::unexpected(std::move(*reason));
  return 0;
}

Result<void> NullChannel::write(std::span<const iovec> from, Loan) {
  FERRY_TRY(check_writing());
  bytes_written_ += total_bytes(from);
  return {};
}

Result<void> NullChannel::flush() { return check_writing(); }
Result<void> NullChannel::finish() { return check_writing(); }

Result<void> NullChannel::check_writing() const {
  if (auto reason = cancelled_.error("write to null")) return std::unexpected(std::move(*reason));
  return {};
}

}  // namespace ferry
