#include "channels/file_engine.h"

#include <fmt/format.h>

#include <cerrno>
#include <thread>
#include <utility>

namespace ferry {

Result<std::unique_ptr<FileEngine>> make_file_engine(FileEngineKind kind, Caching caching,
                                                     const FileEngineSetting& setting) {
  switch (kind) {
    case FileEngineKind::io_uring:
      return make_io_uring_engine(setting);
    case FileEngineKind::aio:
      return make_aio_engine(setting);
    case FileEngineKind::threads:
      return make_thread_engine(setting);
    case FileEngineKind::automatic:
      break;
  }
  if (auto engine = make_io_uring_engine(setting)) return engine;
  if (caching == Caching::direct) {
    if (auto engine = make_aio_engine(setting)) return engine;
  }
  return make_thread_engine(setting);
}

Result<void> submit_patiently(std::string_view name, const std::function<long()>& submit,
                              std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  long submitted = submit();
  while (submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY) {
    if (std::chrono::steady_clock::now() >= deadline) break;
    std::this_thread::yield();  // whoever has what the kernel lacks may be ready to run
    submitted = submit();
  }
  if (submitted == 1) return {};
  return fail_sys(Errc::system, submitted < 0 ? static_cast<int>(-submitted) : 0,
                  fmt::format("file engine {}: submit", name));
}

}  // namespace ferry
