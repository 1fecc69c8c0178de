// How the bytes of files are moved, several requests at a time: three ways behind one face.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "ferry/place.h"
#include "ferry/result.h"

namespace ferry {

struct FileRequest {
  enum class Direction { read, write };
  Direction direction = Direction::read;
  int fd = -1;  ///< of the file; borrowed until the completion
  std::uint64_t offset = 0;
  std::span<std::byte> bytes;  ///< only read from, where they are written
  std::uint64_t cookie = 0;    ///< comes back with the completion
};

struct FileCompletion {
  std::uint64_t cookie = 0;
  std::int64_t result = 0;  ///< bytes moved, maybe fewer than asked for; or minus an errno
};

/// Moves pieces of files, in no order. Used by one thread at a time; it may be handed on.
class FileEngine {
 public:
  virtual ~FileEngine() = default;
  /// Begins. The memory is on loan until the completion, and no more requests than the engine's
  /// depth are under way. Errc::system, and then nothing will be heard of this request; the failure
  /// is final, and what is under way is still to be awaited.
  virtual Result<void> submit(const FileRequest& request) = 0;
  /// Blocks until a request has ended; there must be one. Errc::system: how the others end is not
  /// known any more.
  virtual Result<FileCompletion> wait() = 0;
  virtual FileEngineKind kind() const noexcept = 0;
};

struct FileEngineSetting {
  unsigned depth = 1;  ///< requests under way, at most
  /// Memory that most requests are in: registered with the kernel where the engine can. Borrowed.
  std::span<std::byte> staging;
};

/// Errc::unsupported, saying why, where this build or this kernel has no such engine. `automatic`
/// takes the best that there is.
Result<std::unique_ptr<FileEngine>> make_file_engine(FileEngineKind kind, Caching caching,
                                                     const FileEngineSetting& setting);

/// For engines: submits one request by `submit`, which gives how many were taken or minus an errno.
/// Repeats it while it is interrupted or the kernel has no room for a request just now, for so
/// long. Errc::system, "file engine `name`: submit".
Result<void> submit_patiently(std::string_view name, const std::function<long()>& submit,
                              std::chrono::milliseconds patience = std::chrono::seconds(10));

Result<std::unique_ptr<FileEngine>> make_io_uring_engine(const FileEngineSetting& setting);
Result<std::unique_ptr<FileEngine>> make_aio_engine(const FileEngineSetting& setting);
Result<std::unique_ptr<FileEngine>> make_thread_engine(const FileEngineSetting& setting);

}  // namespace ferry
