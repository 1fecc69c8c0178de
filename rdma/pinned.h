// Registered memory that several channels use.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "ferry/memory.h"
#include "ferry/result.h"
#include "rdma/verbs.h"

namespace ferry {

class ChunkPool;

/// A protection domain, and what is registered in it: the same memory for the same use once, as
/// long as anybody holds it, so that lanes do not pin it as often as there are lanes. Thread-safe.
///
/// A domain is of one listener, or of all that one transport connects to: only there do peers' keys
/// mean anything.
class PinningDomain : public std::enable_shared_from_this<PinningDomain> {
 public:
  /// Held by whoever uses it (and so shared); the last one deregisters.
  using Pin = std::shared_ptr<const Registration>;

  static std::shared_ptr<PinningDomain> create(std::unique_ptr<RdmaDomain> domain) {
    return std::shared_ptr<PinningDomain>(new PinningDomain(std::move(domain)));
  }

  /// Errc::system; where the limit on locked memory is in the way it says so. `act` begins the
  /// error.
  Result<Pin> pin(std::span<std::byte> memory, DeviceMay may, const std::string& act);

  /// The same of memory that nobody shares. It waits for nobody: a guest's takes long.
  Result<Pin> pin_alone(std::span<std::byte> memory, DeviceMay may, const std::string& act);

  /// Is each of them that is not empty pinned by somebody, so that pin_all() has nothing to do?
  bool has_all(std::span<const std::span<std::byte>> memory, DeviceMay may);

  /// Several at once, or none of them: whether they all may be pinned is asked first. Empty ones
  /// get no pin.
  Result<std::vector<Pin>> pin_all(std::span<const std::span<std::byte>> memory, DeviceMay may,
                                   const std::string& act);

  /// What chunks of `memory` are pinned, at most `most` bytes of them: one pool for all channels
  /// that let their peers write there.
  std::shared_ptr<ChunkPool> chunks_of(const GuestMemory& memory, std::uint64_t most);

  RdmaDomain& domain() noexcept { return *domain_; }

 private:
  using Key = std::tuple<const std::byte*, std::size_t, DeviceMay>;

  explicit PinningDomain(std::unique_ptr<RdmaDomain> domain) : domain_(std::move(domain)) {}
  class Shared;
  Pin known(const Key& key);
  Result<Pin> make(std::span<std::byte> memory, DeviceMay may, const std::string& act);
  Result<Pin> add(const Key& key, std::span<std::byte> memory, DeviceMay may,
                  const std::string& act);

  const std::unique_ptr<RdmaDomain> domain_;
  std::mutex mutex_;  // held while memory is registered: a second one waits for the first
  std::map<Key, std::weak_ptr<const Registration>> pins_;  // guarded by mutex_
  std::vector<std::weak_ptr<ChunkPool>> pools_;            // guarded by mutex_
};

/// The domains of a listener, or of a transport: one for each device, as long as a channel uses it.
/// On the loop's thread.
class PinningDomains {
 public:
  /// The domain of the device that serves this connection.
  Result<std::shared_ptr<PinningDomain>> of(Connection& connection);

 private:
  std::map<std::string, std::weak_ptr<PinningDomain>> domains_;  // by the name of the device
};

}  // namespace ferry
