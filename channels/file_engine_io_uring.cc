#include <liburing.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "channels/file_engine.h"

namespace ferry {
namespace {

/// Requests go out one by one: a piece is large, and a system call is nothing beside it. The modes
/// of a ring that are faster still bind it to one thread.
class IoUringEngine final : public FileEngine {
 public:
  IoUringEngine(const FileEngineSetting& setting) : setting_(setting) {}
  IoUringEngine(const IoUringEngine&) = delete;
  IoUringEngine& operator=(const IoUringEngine&) = delete;
  ~IoUringEngine() override {
    if (open_) io_uring_queue_exit(&ring_);
  }

  Result<void> open() {
    // Who computes is not interrupted by what has ended: it asks when it has time.
    int error = io_uring_queue_init(setting_.depth, &ring_, IORING_SETUP_COOP_TASKRUN);
    if (error == -EINVAL) error = io_uring_queue_init(setting_.depth, &ring_, 0);  // before 5.19
    if (error < 0) {
      return fail_sys(Errc::unsupported, -error, "file engine io_uring: make a ring",
                      "aio or threads will do");
    }
    open_ = true;
    return {};
  }

  Result<void> submit(const FileRequest& request) override {
    if (failure_) return std::unexpected(*failure_);
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    if (entry == nullptr) return fail(Errc::system, "file engine io_uring: the ring is full");
    prepare(*entry, request);
    io_uring_sqe_set_data64(entry, request.cookie);
    auto submitted = submit_patiently("io_uring", [this] { return io_uring_submit(&ring_); });
    // It stays in the queue: no other may be submitted, or the kernel would take it after all.
    if (!submitted) failure_ = submitted.error();
    return submitted;
  }

  Result<FileCompletion> wait() override {
    register_staging();
    io_uring_cqe* entry = nullptr;
    int waited = 0;
    do {
      waited = io_uring_wait_cqe(&ring_, &entry);
    } while (waited == -EINTR);
    if (waited < 0) return fail_sys(Errc::system, -waited, "file engine io_uring: wait");
    const FileCompletion completion{io_uring_cqe_get_data64(entry), entry->res};
    io_uring_cqe_seen(&ring_, entry);
    return completion;
  }

  FileEngineKind kind() const noexcept override { return FileEngineKind::io_uring; }

 private:
  /// When the first requests are under way: memory that nobody had yet takes as long to come by as
  /// megabytes from the disk. Without registration it works as well, only slower: memory that may
  /// be locked is scarce.
  void register_staging() noexcept {
    if (std::exchange(asked_, true)) return;
    const iovec staging{setting_.staging.data(), setting_.staging.size()};
    registered_ = io_uring_register_buffers(&ring_, &staging, 1) == 0;
  }

  bool is_registered(std::span<const std::byte> bytes) const noexcept {
    const std::byte* const begin = setting_.staging.data();
    return registered_ && bytes.data() >= begin && bytes.data() < begin + setting_.staging.size();
  }

  void prepare(io_uring_sqe& entry, const FileRequest& request) const noexcept {
    const auto length = static_cast<unsigned>(request.bytes.size());
    const bool fixed = is_registered(request.bytes);
    if (request.direction == FileRequest::Direction::read) {
      if (fixed) {
        io_uring_prep_read_fixed(&entry, request.fd, request.bytes.data(), length, request.offset,
                                 0);
      } else {
        io_uring_prep_read(&entry, request.fd, request.bytes.data(), length, request.offset);
      }
    } else if (fixed) {
      io_uring_prep_write_fixed(&entry, request.fd, request.bytes.data(), length, request.offset,
                                0);
    } else {
      io_uring_prep_write(&entry, request.fd, request.bytes.data(), length, request.offset);
    }
  }

  const FileEngineSetting setting_;
  io_uring ring_{};
  bool open_ = false;
  bool asked_ = false;  // to register the staging
  bool registered_ = false;
  std::optional<Error> failure_;  // of a submit, which is the last
};

}  // namespace

Result<std::unique_ptr<FileEngine>> make_io_uring_engine(const FileEngineSetting& setting) {
  auto engine = std::make_unique<IoUringEngine>(setting);
  FERRY_TRY(engine->open());
  return engine;
}

}  // namespace ferry
