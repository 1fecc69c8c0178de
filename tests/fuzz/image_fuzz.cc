// A snapshot's header, bitmap and directory: refused, or encoding gives the same again.
#include "tests/fuzz/fuzz_target.h"
#include "wire/image_format.h"

namespace ferry::fuzz {
namespace {

void check_header(const Bytes& units) {
  const auto header = wire::decode_image_header(units);
  if (!header) return;
  const auto again = wire::decode_image_header(wire::encode(*header));
  demand(again && *again == *header, "a header comes out as it went in");
  const wire::ImagePlan plan = wire::plan_image(header->layout);
  demand(plan.end() <= header->file_bytes, "every part is inside of the file");
}

void check_sections(const Bytes& units) {
  wire::ImageHeader header;
  header.directory_bytes = units.size();
  header.file_bytes = std::uint64_t{1} << 40;
  const auto sections = wire::decode_image_sections(units, header);
  if (sections) demand(wire::encode(*sections) == units, "a directory has one encoding");
}

void check_bitmap(const Bytes& units) {
  const Layout layout{
      {{.name = "ram", .length = 100 * k_unit_bytes}, {.name = "rom", .length = 3 * k_unit_bytes}}};
  const auto present = wire::decode_image_bitmap(units, layout);
  if (present) {
    demand(wire::encode_image_bitmap(*present, layout) == units, "a bitmap has one encoding");
  }
}

/// Whole units, as a file has them.
void check(Bytes message) {
  if (message.size() >= wire::k_prologue_bytes) (void)wire::image_header_bytes(message);
  message.resize(wire::padded(message.size()));
  check_header(message);
  check_sections(message);
  check_bitmap(message);
}

}  // namespace
}  // namespace ferry::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return ferry::fuzz::check_message(data, size, ferry::fuzz::check);
}
