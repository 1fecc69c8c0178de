// tiny-vmm: a VMM on /dev/kvm whose guest can be migrated while it runs. See --help, and README.md.
#include "common/conduct.h"
#include "tiny-vmm/tiny_vmm.h"

int main(int argc, char** argv) {
  const std::span<char* const> arguments(argv, static_cast<std::size_t>(argc));
  return example::conduct(arguments, {"tiny-vmm", "vcpus", "log|ring|pagemap"},
                          example::TinyVmm::create);
}
