// In the place of glib_host.cc, where there is no GLib.
#include "tests/embedding/host.h"

namespace ferry::test {

std::unique_ptr<Host> make_glib_host() { return nullptr; }

}  // namespace ferry::test
