// Does anybody write to this file?
#pragma once

#include <optional>
#include <utility>

#include "ferry/unique_fd.h"

namespace ferry {

/// A lease on reading a regular file (fcntl(2), F_SETLEASE): as long as it is held, nobody has had
/// the file open for writing or mapped it so, since before the lease was taken. Whoever wants to
/// waits until it is given back: look at held() often, and give it back when it is lost. All of it
/// is thread-safe.
class ReadLease {
 public:
  /// Of the file that is open as `fd`, which is borrowed for the call. Nothing where there is none
  /// to be had: somebody has it open for writing, it is another user's, it is no regular file, or
  /// its file system has no leases.
  static std::optional<ReadLease> take(int fd);

  /// False from the moment somebody wants to write, and after give_back(); then for good.
  bool held() const noexcept;
  void give_back() const noexcept;
  /// The file, for reading: a description of the lease's own.
  int fd() const noexcept { return file_.get(); }

 private:
  explicit ReadLease(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

}  // namespace ferry
