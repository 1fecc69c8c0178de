#include "tests/conformance/channel_kinds.h"

namespace ferry::test {

std::vector<ChannelKind> encrypted(std::vector<ChannelKind>) { return {}; }

std::vector<ChannelKind> encrypted_by_the_kernel(std::vector<ChannelKind>) { return {}; }

}  // namespace ferry::test
