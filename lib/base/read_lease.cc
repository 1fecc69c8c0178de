#include "base/read_lease.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <csignal>
#include <string>
#include <utility>

namespace ferry {

std::optional<ReadLease> ReadLease::take(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return std::nullopt;
  // A lease is the open file's, and the caller's may be shared with others.
  UniqueFd file(
      ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return std::nullopt;
  // Who breaks a lease sends a signal to its holder. We look instead: the signal is one that does
  // nothing where nobody expects it, until there is nobody to send it to.
  if (::fcntl(file.get(), F_SETSIG, SIGURG) != 0 || ::fcntl(file.get(), F_SETLEASE, F_RDLCK) != 0) {
    return std::nullopt;
  }
  (void)::fcntl(file.get(), F_SETOWN, 0);
  return ReadLease(std::move(file));
}

bool ReadLease::held() const noexcept { return ::fcntl(file_.get(), F_GETLEASE) == F_RDLCK; }

void ReadLease::give_back() const noexcept { (void)::fcntl(file_.get(), F_SETLEASE, F_UNLCK); }

}  // namespace ferry
