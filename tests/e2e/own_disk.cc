#include "tests/e2e/own_disk.h"

#include "tests/e2e/process.h"

namespace ferry {

OwnDisk::OwnDisk(const std::string& script) {
  std::filesystem::create_directories(path());
  made_ = run(script);
}

OwnDisk::~OwnDisk() { run("umount disk 2>/dev/null; umount backing 2>/dev/null"); }

bool OwnDisk::run(const std::string& script) {
  Process shell({"/bin/sh", "-c", "cd '" + folder_.path().native() + "' && " + script});
  return shell.wait() == 0;
}

}  // namespace ferry
