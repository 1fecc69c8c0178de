#include "console/activation.h"

#include <unistd.h>

#include <string_view>

namespace ferry {

Result<std::string> Activation::uri() const {
  if (listen_pid == nullptr || listen_fds == nullptr) return std::string();
  // They may be meant for a process above us, which did not clear them.
  if (listen_pid != std::to_string(::getpid())) return std::string();
  const std::string_view count = listen_fds;
  if (count == "1") return std::string("fd:3");  // SD_LISTEN_FDS_START
  if (count == "0") return std::string();
  return fail(Errc::usage, "take over the sockets of the service: there are " + std::string(count),
              "leave one ListenStream= in its unit");
}

}  // namespace ferry
