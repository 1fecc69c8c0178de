#include "base/output_file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/escape.h"

namespace ferry {
namespace {

constexpr ::mode_t k_mode = 0666;  // of which the kernel takes the umask
constexpr int k_attempts = 100;    // at a hidden name that is free; each has one in 62^6 against it

std::string path_of(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

/// `.NAME.ferry-XXXXXX`, with NAME cut to what a directory entry can hold.
std::string hidden_name(const std::string& name) {
  constexpr std::string_view k_letters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  constexpr std::size_t k_name_max = 255;
  const std::string_view marker = ".ferry-";
  unsigned char random[6] = {};
  // Cannot fail for so few bytes; if it did, the names would collide and the attempts run out.
  [[maybe_unused]] const ::ssize_t got = ::getrandom(random, sizeof random, 0);
  std::string hidden = "." + name.substr(0, k_name_max - 1 - marker.size() - sizeof random);
  hidden += marker;
  for (const unsigned char byte : random) hidden += k_letters[byte % k_letters.size()];
  return hidden;
}

/// Calls `attempt` with fresh hidden names until one is free; returns it, or empty with errno set.
template <class Attempt>
std::string with_free_name(const std::string& name, Attempt attempt) {
  for (int i = 0; i < k_attempts; ++i) {
    std::string hidden = hidden_name(name);
    if (attempt(hidden.c_str())) return hidden;
    if (errno != EEXIST) return {};
  }
  return {};
}

/// A file without a name, or none where the file system or the missing /proc does not allow it.
UniqueFd open_nameless(int folder) {
  UniqueFd file(::openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, k_mode));
  if (file && ::access(path_of(file.get()).c_str(), F_OK) != 0) file.reset();
  return file;
}

/// rename(2) that never replaces. NFS and others do not know RENAME_NOREPLACE; a hard link does not
/// replace either.
bool rename_to_free_name(int folder, const char* from, const char* to) {
  if (::renameat2(folder, from, folder, to, RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  if (::linkat(folder, from, folder, to, 0) != 0) return false;
  ::unlinkat(folder, from, 0);
  return true;
}

std::string remedy_for(int sys) {
  switch (sys) {
    case EEXIST:
      return "give --force to replace it";
    case ENOSPC:
    case EDQUOT:
      return "is the disk full?";
    case EFBIG:
      return "the file system or a limit does not allow files so long";
    default:
      return {};
  }
}

}  // namespace

Result<OutputFile> OutputFile::create(int folder, std::string name, std::string shown_as,
                                      std::uint64_t length, Beginning beginning) {
  OutputFile output(folder, std::move(name), std::move(shown_as));
  if (beginning == Beginning::nameless) output.file_ = open_nameless(folder);
  if (!output.file_) FERRY_TRY(output.open_hidden());
  if (::ftruncate(output.fd(), static_cast<::off_t>(length)) != 0) {
    return std::unexpected(output.failed(errno).error());
  }
  return output;
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : folder_(other.folder_),
      name_(std::move(other.name_)),
      shown_as_(std::move(other.shown_as_)),
      hidden_(std::exchange(other.hidden_, {})),
      replaced_(other.replaced_),
      file_(std::move(other.file_)) {}

OutputFile::~OutputFile() { settle(); }

std::string OutputFile::act() const { return "create " + in_quotes(shown_as_); }

Result<void> OutputFile::failed(int sys) const {
  return fail_sys(Errc::system, sys, act(), remedy_for(sys));
}

Result<void> OutputFile::open_hidden() {
  hidden_ = with_free_name(name_, [this](const char* hidden) {
    file_.reset(::openat(folder_, hidden, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, k_mode));
    return static_cast<bool>(file_);
  });
  if (hidden_.empty()) return failed(errno);
  return {};
}

Result<void> OutputFile::sync() {
  if (::fsync(file_.get()) != 0) {
    return fail_sys(Errc::system, errno, "write " + in_quotes(shown_as_) + " to disk",
                    remedy_for(errno));
  }
  return {};
}

Result<void> OutputFile::stage() {
  if (!hidden_.empty()) return {};
  const std::string nameless = path_of(file_.get());
  hidden_ = with_free_name(name_, [&](const char* hidden) {
    return ::linkat(AT_FDCWD, nameless.c_str(), folder_, hidden, AT_SYMLINK_FOLLOW) == 0;
  });
  if (hidden_.empty()) return failed(errno);
  return {};
}

Result<void> OutputFile::show(Existing existing) {
  bool done = false;
  if (hidden_.empty()) {
    done = ::linkat(AT_FDCWD, path_of(file_.get()).c_str(), folder_, name_.c_str(),
                    AT_SYMLINK_FOLLOW) == 0;
  } else if (existing == Existing::replace) {
    done = replace();
  } else {
    done = rename_to_free_name(folder_, hidden_.c_str(), name_.c_str());
  }
  if (!done) return failed(errno);
  if (replaced_ != Replaced::kept) hidden_.clear();
  return {};
}

/// False with errno set.
bool OutputFile::replace() {
  struct stat status {};
  const bool there = ::fstatat(folder_, name_.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  if (there && S_ISDIR(status.st_mode)) {  // which an exchange would take
    errno = EISDIR;
    return false;
  }
  if (there &&
      ::renameat2(folder_, hidden_.c_str(), folder_, name_.c_str(), RENAME_EXCHANGE) == 0) {
    replaced_ = Replaced::kept;
    return true;
  }
  if (::renameat(folder_, hidden_.c_str(), folder_, name_.c_str()) != 0) return false;
  if (there) replaced_ = Replaced::gone;
  return true;
}

bool OutputFile::bears_its_name() const noexcept {
  struct stat ours {};
  struct stat named {};
  return ::fstat(file_.get(), &ours) == 0 &&
         ::fstatat(folder_, name_.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

void OutputFile::take_back() noexcept {
  if (!bears_its_name()) return;
  switch (std::exchange(replaced_, Replaced::nothing)) {
    case Replaced::nothing:
      ::unlinkat(folder_, name_.c_str(), 0);
      break;
    case Replaced::kept:
      // From here on the hidden name is this file's again; or else it stays what was replaced,
      // which must not be removed with this one's failure.
      if (::renameat2(folder_, hidden_.c_str(), folder_, name_.c_str(), RENAME_EXCHANGE) != 0) {
        hidden_.clear();
      }
      break;
    case Replaced::gone:
      break;
  }
}

void OutputFile::settle() noexcept {
  if (hidden_.empty()) return;
  ::unlinkat(folder_, hidden_.c_str(), 0);
  hidden_.clear();
}

}  // namespace ferry
