#include "tests/dirty/tracked_memory.h"

namespace ferry::test {

std::vector<Kind> kinds_with_kvm() { return {}; }

}  // namespace ferry::test
