// Where a guest is laid down with nobody at the other end to say READY: a file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "ferry/channel.h"
#include "ferry/result.h"
#include "ferry/uri.h"

namespace [[gnu::visibility("default")]] ferry {

/// What becomes of a file that has the output's name already.
enum class Existing {
  keep,     ///< it stays, and the output fails
  replace,  ///< the output takes its place, in one step
};

/// How a file's pages are moved.
enum class FileEngineKind {
  automatic,  ///< the best that there is for the way the file is opened
  io_uring,   ///< with registered buffers
  aio,        ///< Linux AIO: io_submit(2). Only with Caching::direct does it not block
  threads,    ///< a pool of threads with preadv(2) and pwritev(2); there always
};

/// Do a snapshot's pages go through the page cache? Those of an image that is saved, or that is
/// made of it, do not where their file system can do that, unless an image is there already.
enum class Caching {
  automatic,  ///< direct where its file system can do that, but to read what is cached already
  buffered,
  direct,  ///< O_DIRECT: the disk alone, and the cache stays as it was
};

/// What is chosen for all files of one Runtime that guests are put in and taken from.
struct FileOptions {
  FileEngineKind engine = FileEngineKind::automatic;
  Caching caching = Caching::automatic;
  Existing existing = Existing::keep;
  unsigned depth = 32;  ///< requests under way on each lane, 1 to 64: most runs are short
};

/// A stretch of a file, in bytes.
struct Stretch {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  friend bool operator==(const Stretch&, const Stretch&) = default;
};

/// Bytes that can be read at any offset. All but lane() is thread-safe. What cannot be read is
/// Errc::system.
class Place {
 public:
  virtual ~Place() = default;

  /// In bytes.
  virtual std::uint64_t length() const noexcept = 0;
  /// All of `into`; one call of the thread's own.
  virtual Result<void> read(std::uint64_t at, std::span<std::byte> into) const = 0;
  /// The first stretch at or after `from` that has storage behind it; what is before it reads as
  /// zeros. Nothing: all of the rest does.
  virtual Result<std::optional<Stretch>> next_data(std::uint64_t from) const = 0;
  /// Does the kernel read far ahead of whoever reads its pages in order? Lanes then have a stretch
  /// each, and else take turns along one way: where little is read ahead, a disk's head would go to
  /// and fro.
  virtual bool reads_far_ahead() const { return false; }
  /// For one thread at a time, and for no longer than this lives. Region i begins at
  /// `region_offsets[i]`, a multiple of k_unit_bytes. The regions behind these are `outside`, in
  /// their order: memory that only its descriptors reach. Of a place that is read they are where
  /// what was got is put on; of a new one, where what is put is got from.
  virtual Result<std::unique_ptr<PlacedIo>> lane(std::vector<std::uint64_t> region_offsets,
                                                 std::span<const MemoryRegion> outside) = 0;
};

/// A place that nobody sees before show(). Dropping it leaves nothing behind.
class NewPlace : public Place {
 public:
  /// All of `from`; beyond its end the place becomes longer. Thread-safe.
  virtual Result<void> write(std::uint64_t at, std::span<const std::byte> from) = 0;
  /// Gives the storage behind a stretch back: it then reads as zeros. Thread-safe.
  virtual Result<void> clear(Stretch stretch) = 0;
  /// Makes a stretch share the storage of as many bytes from `from` on of the file open as `fd`,
  /// until either is written to. False where these two cannot: nothing has changed then, and asking
  /// again is of no use. Thread-safe.
  virtual bool clone(Stretch, [[maybe_unused]] int fd, [[maybe_unused]] std::uint64_t from) {
    return false;
  }
  /// All that was written survives a power cut, and what could keep show() from its end is found.
  virtual Result<void> keep() = 0;
  /// Gives it its name, in one step. After a failure it has none.
  virtual Result<void> show() = 0;
};

/// The side of a Transport that reaches places. Its calls block; any thread may make them.
class Places {
 public:
  /// A new place of `length` bytes, which all read as zeros. Errc::usage where no file can have
  /// this name; Errc::system where it cannot be made, or one exists that is to be kept.
  virtual Result<std::unique_ptr<NewPlace>> create(const Uri& at, std::uint64_t length) = 0;
  virtual Result<std::unique_ptr<Place>> open(const Uri& at) = 0;

 protected:
  ~Places() = default;
};

}  // namespace ferry
