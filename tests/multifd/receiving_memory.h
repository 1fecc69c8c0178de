// What the tests of PageReceiver share: memory of either reach, and bytes to put there.
#pragma once

#include <gtest/gtest.h>

#include <span>
#include <vector>

#include "tests/multifd/fed_receiver.h"

namespace ferry::test {

inline constexpr std::uint64_t k_tail = 100;
inline const std::vector<std::uint64_t> k_lengths = {16 * k_unit_bytes + k_tail, 4 * k_unit_bytes};
inline const Bytes k_noise = noise_bytes(16 * k_unit_bytes, 1);

inline std::span<const std::byte> noise(std::size_t units) {
  return std::span(k_noise).first(units * k_unit_bytes);
}
inline Bytes copy_of(std::span<const std::byte> bytes) { return {bytes.begin(), bytes.end()}; }

class ReceivingMemory : public ::testing::TestWithParam<Reach> {
 protected:
  TestMemory memory_{GetParam(), k_lengths};
};

inline const auto k_both_reaches = ::testing::Values(Reach::mapping, Reach::descriptor);
inline std::string name_of_reach(const ::testing::TestParamInfo<Reach>& instance) {
  return instance.param == Reach::mapping ? "Mapped" : "Descriptor";
}

}  // namespace ferry::test
