// Hello: refused, or it says the same when it is encoded again.
#include "tests/fuzz/fuzz_target.h"
#include "wire/hello.h"

namespace ferry::fuzz {
namespace {

void check(const Bytes& message) {
  (void)wire::hello_length(message);
  const auto hello = wire::decode_hello(message);
  if (!hello) return;
  const Bytes again = wire::encode(*hello);
  demand(wire::decode_hello(again) == *hello, "a Hello comes out as it went in");
  // Unknown extensions are not kept.
  demand(again == message || message.size() > again.size(), "a Hello has one encoding");
}

}  // namespace
}  // namespace ferry::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ferry::fuzz::check_message(data, size, ferry::fuzz::check);
}
