#include "channels/file_engine.h"

namespace ferry {

Result<std::unique_ptr<FileEngine>> make_io_uring_engine(const FileEngineSetting&) {
  return fail(Errc::unsupported, "file engine io_uring: this build has no liburing",
              "aio or threads will do");
}

}  // namespace ferry
