#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "channels/file_engine.h"

namespace ferry {
namespace {

/// Linux AIO, by its system calls: they are five, and the library over them adds nothing.
class AioEngine final : public FileEngine {
 public:
  AioEngine() = default;
  AioEngine(const AioEngine&) = delete;
  AioEngine& operator=(const AioEngine&) = delete;
  ~AioEngine() override {
    if (context_ != 0) ::syscall(SYS_io_destroy, context_);  // waits for what is under way
  }

  Result<void> open(unsigned depth) {
    if (::syscall(SYS_io_setup, depth, &context_) != 0) {
      context_ = 0;
      return fail_sys(Errc::unsupported, errno, "file engine aio: make a context",
                      errno == EAGAIN ? "fs.aio-max-nr bounds them" : "threads will do");
    }
    return {};
  }

  Result<void> submit(const FileRequest& request) override {
    iocb block{};
    block.aio_data = request.cookie;
    block.aio_lio_opcode =
        request.direction == FileRequest::Direction::read ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE;
    block.aio_fildes = static_cast<std::uint32_t>(request.fd);
    block.aio_buf = reinterpret_cast<std::uintptr_t>(request.bytes.data());
    block.aio_nbytes = request.bytes.size();
    block.aio_offset = static_cast<std::int64_t>(request.offset);
    iocb* blocks[] = {&block};  // the kernel copies it
    return submit_patiently("aio", [&]() -> long {
      const long taken = ::syscall(SYS_io_submit, context_, 1L, blocks);
      return taken < 0 ? -errno : taken;
    });
  }

  Result<FileCompletion> wait() override {
    io_event event{};
    long got = 0;
    do {
      got = ::syscall(SYS_io_getevents, context_, 1L, 1L, &event, nullptr);
    } while (got < 0 && errno == EINTR);
    if (got != 1) return fail_sys(Errc::system, errno, "file engine aio: wait");
    return FileCompletion{event.data, event.res};
  }

  FileEngineKind kind() const noexcept override { return FileEngineKind::aio; }

 private:
  aio_context_t context_ = 0;
};

}  // namespace

Result<std::unique_ptr<FileEngine>> make_aio_engine(const FileEngineSetting& setting) {
  auto engine = std::make_unique<AioEngine>();
  FERRY_TRY(engine->open(setting.depth));
  return engine;
}

}  // namespace ferry
