// Encrypted channels whose keys stay the same: each carries what its key may protect, and another
// takes its place.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/e2e/certificates.h"
#include "tests/same_bytes.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/mutated_guest.h"

namespace ferry::test {
namespace {

using namespace std::chrono_literals;

// 4 MiB for a key: another channel at 3.5 MiB.
constexpr std::uint64_t k_records = 256;

/// Over what, and who cannot replace a key there.
struct Kind {
  std::string name;
  std::string scheme;
  TlsVersion version;
  TlsRecords records;
  unsigned lanes;
};

class ReplacedTls : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    Certificates::fill(folder_, "server", "client");
    use_keys_for(k_records);
    if (!runtime_->transport(GetParam().scheme)) GTEST_SKIP() << "built without it";
  }
  void use_keys_for(std::uint64_t records) {
    RuntimeOptions options;
    options.tls.folder = folder_.path();
    options.tls.version = GetParam().version;
    options.tls.records = GetParam().records;
    options.tls.records_per_key = records;
    runtime_ = make_runtime(options).value();
  }
  std::string at() const { return GetParam().scheme + "://127.0.0.1:0"; }
  SendOptions options() const {
    SendOptions options;
    options.channels = GetParam().lanes;
    options.observer.warning = [this](const Warning& warning) { warned_ += warning.text; };
    return options;
  }
  /// Where there is no kernel TLS the keys are replaced, and the channels are not.
  bool has_kernel_tls_if_asked() const {
    return GetParam().records == TlsRecords::ours || warned_.empty();
  }
  static void expect_lanes_replaced(const Ended& ended, std::uint64_t least) {
    expect_replaced(ended, least);
    EXPECT_EQ(ended.sent.report.lanes.size(), GetParam().lanes) << "of channels, not of lanes";
  }

  const TempFolder folder_;
  mutable std::string warned_;
  std::unique_ptr<Runtime> runtime_;
};

TEST_P(ReplacedTls, ManyTakeTheirPlacesInOneRound) {
  MemorySource from(layout_of({48 * k_mib + 5}));
  MemoryDestination to;
  const Ended ended = migrate(*runtime_, from, to, at(), options());
  if (!has_kernel_tls_if_asked()) GTEST_SKIP() << warned_;
  expect_lanes_replaced(ended, 8);
  EXPECT_TRUE(identical(from, to));
}

TEST_P(ReplacedTls, AGuestThatWritesAllTheTimeDoesNotNotice) {
  // The guest writes as long as it takes, and of the control channel no other takes the place.
  use_keys_for(4 * k_records);
  MutatedSource from(8192, 1024);
  MemoryDestination to;
  from.wait_for_a_write();
  SendOptions sending = options();
  sending.max_downtime = 300ms;
  const Ended ended = migrate(*runtime_, from, to, at(), sending);
  if (!has_kernel_tls_if_asked()) GTEST_SKIP() << warned_;
  expect_lanes_replaced(ended, 1);
  EXPECT_TRUE(same_bytes(from.bytes(), to.mappings()->region(0)));
}

TEST_P(ReplacedTls, DeviceStateGoesOnWhereItsLaneDoes) {
  MemorySource from(layout_of({k_unit_bytes}));
  MemoryDestination to;
  const auto state = counting(20 * k_mib);
  give_and_expect(from, to, state);
  const Ended ended = migrate(*runtime_, from, to, at(), options());
  if (!has_kernel_tls_if_asked()) GTEST_SKIP() << warned_;
  expect_lanes_replaced(ended, 3);
}

constexpr auto k_ours = TlsRecords::ours;
INSTANTIATE_TEST_SUITE_P(Over, ReplacedTls,
                         testing::Values(Kind{"OneLane", "tls", TlsVersion::v1_2, k_ours, 1},
                                         Kind{"TwoLanes", "tls", TlsVersion::v1_2, k_ours, 2},
                                         Kind{"TwoWebsockets", "wss", TlsVersion::v1_2, k_ours, 2},
                                         Kind{"TheKernel", "tls", TlsVersion::v1_3,
                                              TlsRecords::kernel, 2}),
                         [](const auto& test) { return test.param.name; });

TEST(ReplacedTls, WhereKeysAreReplacedChannelsAreNot) {
  const TempFolder folder;
  Certificates::fill(folder, "server", "client");
  RuntimeOptions options;
  options.tls.folder = folder.path();
  options.tls.records_per_key = k_records;
  const auto runtime = make_runtime(options).value();
  MemorySource from(layout_of({20 * k_mib}));
  MemoryDestination to;
  const Ended ended = migrate(*runtime, from, to, "tls://127.0.0.1:0", with_channels(1));
  ASSERT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  EXPECT_EQ(ended.sent.report.replacements, 0u);
  EXPECT_TRUE(identical(from, to));
}

}  // namespace
}  // namespace ferry::test
