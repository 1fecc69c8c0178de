// HelloAck, refusals among them: refused, or it says the same when it is encoded again.
#include "tests/fuzz/fuzz_target.h"
#include "wire/hello.h"

namespace ferry::fuzz {
namespace {

void check(const Bytes& message) {
  (void)wire::hello_ack_length(message);
  const auto ack = wire::decode_hello_ack(message);
  if (!ack) return;
  const auto again = wire::decode_hello_ack(wire::encode(*ack));
  demand(again.has_value(), "what was decoded can be encoded");
  // An escaped reason may be longer than a reason can be.
  if (ack->reason.size() > wire::k_max_text_bytes) return;
  demand(*again == *ack, "a HelloAck comes out as it went in");
}

}  // namespace
}  // namespace ferry::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ferry::fuzz::check_message(data, size, ferry::fuzz::check);
}
