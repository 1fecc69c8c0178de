// What all messages share: prologue, length, checksum; and texts cut to a limit.
#include <algorithm>
#include <string_view>

#include "base/escape.h"
#include "tests/fuzz/fuzz_target.h"
#include "wire/control.h"

namespace ferry::fuzz {
namespace {

void check_form(const Bytes& message, const wire::MessageForm& form) {
  const auto stated = wire::stated_length(message, form);
  if (stated) {
    demand(*stated >= form.min_length && *stated <= form.max_length, "a length is within bounds");
  }
  auto opened = wire::open_message(message, form);
  if (!opened) return;
  demand(stated == message.size(), "what was opened is as long as it says");
  demand(opened->fields.remaining() ==
             message.size() - wire::k_prologue_bytes - wire::k_checksum_bytes,
         "all between prologue and checksum are fields");
  opened->fields.string();
  opened->fields.bytes(opened->fields.remaining());
  (void)wire::close_message(opened->fields, form);
}

void check(const Bytes& message) {
  for (const wire::MessageForm* form : {&wire::k_hello_form, &wire::k_hello_ack_form,
                                        &wire::k_control_form, &wire::k_packet_form}) {
    check_form(message, *form);
  }
  (void)wire::message_kind(message);
}

void check_text(const Bytes& input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const std::size_t limit = input.size() / 2;
  const std::string_view cut = wire::cut_text(text, limit);
  demand(cut.size() <= limit && text.starts_with(cut), "a cut text is the text's beginning");
  const std::string safe = escaped(text);
  demand(escaped(safe) == safe, "what is escaped stays as it is");
}

}  // namespace
}  // namespace ferry::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ferry::fuzz::check_text(ferry::fuzz::bytes_of(data, size));
  return ferry::fuzz::check_message(data, size, ferry::fuzz::check);
}
