// Channels over RDMA for tests: over a fabric of this process, or a device of this host.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "rdma/rdma_transport.h"
#include "rdma/transport.h"
#include "tests/channels/io.h"
#include "tests/channels/loop_thread.h"
#include "tests/rdma/fabric.h"

namespace ferry::test {

inline constexpr std::size_t k_mib = 1 << 20;
inline constexpr std::size_t k_page = k_unit_bytes;

enum class Device { none, of_this_host };

struct RdmaEnds {
  std::unique_ptr<Channel> source;
  std::unique_ptr<Channel> target;
};

/// Where lanes are connected from and to.
class RdmaPair {
 public:
  explicit RdmaPair(Device device, RdmaOptions options = {}) {
    transport_ = device == Device::none ? make_rdma_transport_over(fabric_.verbs(), options)
                                        : make_rdma_transport(options);
    const auto at = Uri::parse(device == Device::none ? "rdma://127.0.0.1:0" : "rdma://:0");
    auto listener = runner_.run(transport_->listen(runner_.loop(), *at));
    if (listener) {
      listener_ = std::move(*listener);
    } else {
      why_not_ = listener.error();
    }
  }
  ~RdmaPair() {
    // On the loop, where it was used.
    (void)runner_.run(drop(std::move(listener_)));
  }

  const std::optional<Error>& why_not() const { return why_not_; }
  Fabric& fabric() { return fabric_; }

  Result<RdmaEnds> connect() {
    return runner_.run(connect_both(runner_.loop(), *transport_, *listener_));
  }

 private:
  static Task<void> drop(std::unique_ptr<Listener>) { co_return; }
  static Task<RdmaEnds> connect_both(EventLoop& loop, Transport& transport, Listener& listener) {
    RdmaEnds ends;
    ends.source = co_await transport.connect(loop, listener.local());
    ends.target = co_await listener.accept();
    co_return std::move(ends);
  }

  Fabric fabric_;
  LoopThread runner_;
  std::unique_ptr<Transport> transport_;
  std::unique_ptr<Listener> listener_;
  std::optional<Error> why_not_;
};

/// Works on the processor, of this thread.
inline void work_for(std::chrono::nanoseconds time) {
  const auto used = [] {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
  };
  for (const auto before = used(); used() - before < time;) continue;
}

/// A guest's memory, mapped.
class RdmaGuest {
 public:
  explicit RdmaGuest(std::vector<std::size_t> lengths, unsigned seed = 0) {
    std::mt19937_64 random(seed);
    for (const std::size_t length : lengths) {
      const std::size_t rounded = units_in(length) * k_unit_bytes;
      bytes_.emplace_back(static_cast<std::byte*>(std::aligned_alloc(k_unit_bytes, rounded)));
      std::memset(bytes_.back().get(), 0, rounded);
      for (std::size_t at = 0; seed != 0 && at + 8 <= length; at += 8) {
        const std::uint64_t word = random();
        std::memcpy(bytes_.back().get() + at, &word, 8);
      }
      MemoryRegion region;
      region.id = static_cast<RegionId>(regions_.size());
      region.name = "ram" + std::to_string(regions_.size());
      region.length = length;
      region.host = bytes_.back().get();
      regions_.push_back(region);
    }
    memory_ = GuestMemory::create(regions_).value();
  }

  const GuestMemory& memory() const { return memory_; }
  std::span<std::byte> at(const PageRun& run) const { return memory_.at(run).value(); }
  std::span<std::byte> region(RegionId id) const { return at({id, 0, regions_[id].length}); }

 private:
  struct FreeBytes {
    void operator()(std::byte* bytes) const { std::free(bytes); }
  };
  std::vector<std::unique_ptr<std::byte, FreeBytes>> bytes_;
  std::vector<MemoryRegion> regions_;
  GuestMemory memory_;
};

}  // namespace ferry::test
