#include "base/cancel_reason.h"

namespace ferry {
namespace {

std::string words(Errc why) {
  switch (why) {
    case Errc::timed_out:
      return "timed out";
    case Errc::disconnected:
      return "the line was cut";
    default:
      return std::string(to_string(why));
  }
}

}  // namespace

void CancelReason::give(Errc why) noexcept {
  int none = k_none;
  code_.compare_exchange_strong(none, static_cast<int>(why), std::memory_order_acq_rel);
}

std::optional<Error> CancelReason::error(const std::string& act) const {
  const int code = code_.load(std::memory_order_acquire);
  if (code == k_none) return std::nullopt;
  const auto why = static_cast<Errc>(code);
  return Error{why, 0, act + ": " + words(why), {}};
}

}  // namespace ferry
