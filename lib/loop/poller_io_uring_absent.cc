// In the place of poller_io_uring.cc, where there is no liburing.
#include "loop/poller.h"

namespace ferry {

Result<std::unique_ptr<Poller>> make_io_uring_poller() {
  return fail(Errc::unsupported, "wait by io_uring: this build has none",
              "it is made with liburing");
}

}  // namespace ferry
