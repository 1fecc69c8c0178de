// A file that nobody sees before it is whole.
#pragma once

#include <cstdint>
#include <string>

#include "ferry/place.h"
#include "ferry/result.h"
#include "ferry/unique_fd.h"

namespace ferry {

/// How an output begins.
enum class Beginning {
  nameless,  ///< with no name, where the file system can do that, else hidden
  hidden,    ///< with a hidden name
};

/// One output on its way to its name. Until show() it has no name at all (O_TMPFILE), so that even
/// a killed process leaves nothing behind; where the file system has no such files it has a hidden
/// one, `.NAME.ferry-XXXXXX`, which the destructor removes. Not thread-safe; writing to fd() is.
/// Failures are Errc::system.
class OutputFile {
 public:
  /// In the folder open as `folder`, which must outlive this; `shown_as` is what errors call it.
  /// The file has `length` bytes, all of them one hole, and the mode that the umask leaves of 0666.
  static Result<OutputFile> create(int folder, std::string name, std::string shown_as,
                                   std::uint64_t length, Beginning beginning = Beginning::nameless);
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;
  ~OutputFile();

  int fd() const noexcept { return file_.get(); }

  /// Everything written so far survives a power cut.
  Result<void> sync();
  /// Gives it its hidden name, so that what show() has left to do is one rename.
  Result<void> stage();
  /// Gives it its own name, in one step. The folder is the caller's to sync. A file that is not
  /// staged can only be shown with Existing::keep.
  Result<void> show(Existing existing);
  /// Removes the name that show() gave, unless something else bears it by now.
  void take_back() noexcept;

 private:
  OutputFile(int folder, std::string name, std::string shown_as)
      : folder_(folder), name_(std::move(name)), shown_as_(std::move(shown_as)) {}

  std::string act() const;
  Result<void> open_hidden();
  Result<void> failed(int sys) const;

  int folder_ = -1;
  std::string name_;
  std::string shown_as_;
  std::string hidden_;  // the name that it has for now; empty where it has none
  UniqueFd file_;
};

}  // namespace ferry
