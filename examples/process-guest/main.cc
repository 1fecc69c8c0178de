// process-guest: what tiny-vmm shows, without KVM. See --help.
#include "common/conduct.h"
#include "process-guest/process_guest.h"

int main(int argc, char** argv) {
  const std::span<char* const> arguments(argv, static_cast<std::size_t>(argc));
  return example::conduct(arguments, {"process-guest", "threads", nullptr},
                          example::ProcessGuest::create);
}
