// A guest that runs, over RDMA itself: where there is a device, as in the lab.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/same_bytes.h"
#include "tests/session/memory_guest.h"
#include "tests/session/migration.h"
#include "tests/session/mutated_guest.h"

namespace ferry::test {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t k_pinned_pages = 1024;

class OverRdma : public testing::TestWithParam<std::string> {
 protected:
  /// Why there is nothing to be tested here; empty where there is.
  std::string absent() {
    if (!runtime_->transport(GetParam())) return "this build has no " + GetParam();
    Transport& transport = **runtime_->transport(GetParam());
    const Uri anywhere = Uri::parse(GetParam() + "://:0").value();
    const auto listener =
        block_on(runtime_->loop(), listen_and_drop(transport, runtime_->loop(), anywhere));
    if (listener || listener.error().code != Errc::unreachable) return {};
    return listener.error().text();
  }
  std::string anywhere() const { return GetParam() + "://:0"; }

  const std::unique_ptr<Runtime> runtime_ = runtime_of_all_transports();

 private:
  static Task<void> listen_and_drop(Transport& transport, EventLoop& loop, Uri at) {
    const std::unique_ptr<Listener> listener = co_await transport.listen(loop, std::move(at));
  }
};

INSTANTIATE_TEST_SUITE_P(All, OverRdma, testing::Values("rdma", "rdma+tls"),
                         [](const auto& instance) {
                           return instance.param == "rdma" ? "Rdma" : "RdmaWithTls";
                         });

TEST_P(OverRdma, MovesAGuestThatWritesAllTheTimeByteForByte) {
  if (const std::string why = absent(); !why.empty()) GTEST_SKIP() << why;
  for (const unsigned channels : {1u, 3u}) {
    MutatedSource from(k_pinned_pages, 64);
    MemoryDestination to;
    from.wait_for_a_write();
    SendOptions options;
    options.channels = channels;
    options.max_downtime = 2s;
    const Ended ended = migrate(*runtime_, from, to, anywhere(), options);
    ASSERT_TRUE(ended.sent.ok()) << why_not(ended.sent);
    ASSERT_TRUE(ended.received.ok()) << why_not(ended.received);
    EXPECT_TRUE(same_bytes(from.bytes(), to.mappings()->region(0)));
    EXPECT_EQ(ended.sent.report.resent, 0u) << "a page that was written to on the way is no damage";
    EXPECT_GE(ended.sent.report.placed_bytes, k_pinned_pages * k_unit_bytes);
    EXPECT_EQ(ended.sent.report.zero_copy_fallbacks, 0u);
  }
}

TEST_P(OverRdma, MovesDeviceStateBesideMemoryThatNobodyCanWriteToAnyMore) {
  if (const std::string why = absent(); !why.empty()) GTEST_SKIP() << why;
  MutatedSource from(k_pinned_pages, 64);
  MemoryDestination to;
  from.on_save = [&](StateWriter& out) -> Result<void> {
    from.write_as_device(k_pinned_pages - 1, std::byte{0xdd});
    out.section("ring").u64(from.writes());
    return {};
  };
  to.on_load = [&](StateReader& in) -> Result<void> {
    EXPECT_TRUE(same_bytes(from.bytes(), to.mappings()->region(0)));
    (void)FERRY_TRY(in.next());
    EXPECT_EQ(FERRY_TRY(in.u64()), from.writes());
    return {};
  };
  SendOptions options;
  options.channels = 2;
  options.max_downtime = 2s;
  options.verify = Verify::full;
  const Ended ended = migrate(*runtime_, from, to, anywhere(), options);
  ASSERT_TRUE(ended.sent.ok()) << why_not(ended.sent);
  ASSERT_TRUE(ended.received.ok()) << why_not(ended.received);
  EXPECT_EQ(to.mappings()->region(0).back(), std::byte{0xdd});
}

}  // namespace
}  // namespace ferry::test
