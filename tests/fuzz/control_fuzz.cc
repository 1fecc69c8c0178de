// Control frames: refused, or encoding gives the same bytes again.
#include "tests/fuzz/fuzz_target.h"
#include "wire/control.h"

namespace ferry::fuzz {
namespace {

void check(const Bytes& message) {
  (void)wire::control_length(message);
  const auto frame = wire::decode_control(message);
  if (!frame) return;
  demand(!wire::name_of(*frame).empty(), "a frame has a name");
  if (std::holds_alternative<wire::Unknown>(*frame)) return;
  const Bytes again = wire::encode(*frame);
  // Its text is escaped, and its code may be one that this version does not know.
  if (std::holds_alternative<wire::Abort>(*frame)) {
    demand(wire::decode_control(again).has_value(), "what was decoded can be encoded");
    return;
  }
  demand(again == message, "a frame has one encoding");
}

}  // namespace
}  // namespace ferry::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ferry::fuzz::check_message(data, size, ferry::fuzz::check);
}
