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
  /// staged can only be shown with Existing::keep. What it replaces has the hidden name from then
  /// on, until settle() or the destructor removes it; where the file system cannot exchange two
  /// names, it is gone at once.
  Result<void> show(Existing existing);
  /// Undoes show(), unless something else bears the name by now: what was replaced has it again,
  /// or nobody. What could not be kept does not come back, and this file stays in its place. Where
  /// the names cannot be exchanged again, what was replaced keeps the hidden one.
  void take_back() noexcept;
  /// Shown for good.
  void settle() noexcept;

 private:
  OutputFile(int folder, std::string name, std::string shown_as)
      : folder_(folder), name_(std::move(name)), shown_as_(std::move(shown_as)) {}

  std::string act() const;
  Result<void> open_hidden();
  bool replace();
  bool bears_its_name() const noexcept;
  Result<void> failed(int sys) const;

  int folder_ = -1;
  std::string name_;
  std::string shown_as_;
  // The name that it has for now, or that what it replaced has; empty where there is neither.
  std::string hidden_;
  /// What show() did with a file that had the name before.
  enum class Replaced { nothing, kept, gone };
  Replaced replaced_ = Replaced::nothing;
  UniqueFd file_;
};

}  // namespace ferry
