#include "base/refuse_options.h"

#include "base/escape.h"

namespace ferry {

Result<void> refuse_options(const Uri& uri, const std::string& act) {
  if (uri.query.empty()) return {};
  const std::string& name = uri.query.begin()->first;
  return fail(Errc::usage, act + ": " + uri.scheme + " has no option " + in_quotes(name),
              name == "key" ? "tls:// takes a key" : "");
}

}  // namespace ferry
