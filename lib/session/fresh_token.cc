#include "session/fresh_token.h"

#include <sys/random.h>

#include <cassert>

namespace ferry {

OwnerToken fresh_token() {
  OwnerToken token;
  // At most 256 bytes are never cut short, and the pool is full by the time anything runs.
  [[maybe_unused]] const ssize_t got = ::getrandom(token.bytes.data(), token.bytes.size(), 0);
  assert(got == static_cast<ssize_t>(token.bytes.size()));
  return token;
}

}  // namespace ferry
