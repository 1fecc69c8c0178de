// URIs: refused as a mistake of usage, or the text that is made of one means the same.
#include <string>

#include "ferry/uri.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using ferry::fuzz::demand;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto uri = ferry::Uri::parse(text);
  if (!uri) {
    demand(uri.error().code == ferry::Errc::usage, "what is no URI is a mistake of usage");
    demand(!uri.error().text().contains('\n'), "an error is one line");
    return 0;
  }
  const auto again = ferry::Uri::parse(uri->text());
  demand(again.has_value(), "a URI's own text is a URI");
  demand(*again == *uri, "a URI's own text means the same");
  demand(again->text() == uri->text(), "a URI has one text");
  return 0;
}
