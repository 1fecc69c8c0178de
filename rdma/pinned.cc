#include "rdma/pinned.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "rdma/chunk_pool.h"
#include "rdma/lockable.h"

namespace ferry {

/// Keeps the domain for as long as there is something registered in it.
class PinningDomain::Shared final : public Registration {
 public:
  Shared(std::shared_ptr<PinningDomain> domain, std::unique_ptr<Registration> registration)
      : domain_(std::move(domain)), registration_(std::move(registration)) {}
  std::uint32_t local_key() const noexcept override { return registration_->local_key(); }
  std::uint32_t remote_key() const noexcept override { return registration_->remote_key(); }

 private:
  std::shared_ptr<PinningDomain> domain_;
  std::unique_ptr<Registration> registration_;  // goes first
};

/// Where somebody holds it already.
PinningDomain::Pin PinningDomain::known(const Key& key) {
  const auto found = pins_.find(key);
  return found == pins_.end() ? nullptr : found->second.lock();
}

Result<PinningDomain::Pin> PinningDomain::add(const Key& key, std::span<std::byte> memory,
                                              DeviceMay may, const std::string& act) {
  std::erase_if(pins_, [](const auto& entry) { return entry.second.expired(); });
  Pin pin = FERRY_TRY(make(memory, may, act));
  pins_[key] = pin;
  return pin;
}

Result<PinningDomain::Pin> PinningDomain::make(std::span<std::byte> memory, DeviceMay may,
                                               const std::string& act) {
  auto registration = domain_->register_memory(memory, may);
  if (!registration) {
    Error error = std::move(registration).error();
    error.context = act + ": " + error.context;
    if (error.sys == ENOMEM) error.remedy = "is the limit on locked memory too low? see ulimit -l";
    return std::unexpected(std::move(error));
  }
  return std::make_shared<const Shared>(shared_from_this(), *std::move(registration));
}

Result<PinningDomain::Pin> PinningDomain::pin_alone(std::span<std::byte> memory, DeviceMay may,
                                                    const std::string& act) {
  FERRY_TRY(check_lockable(memory.size(), lock_limit(), act));
  return make(memory, may, act);
}

Result<PinningDomain::Pin> PinningDomain::pin(std::span<std::byte> memory, DeviceMay may,
                                              const std::string& act) {
  const std::array<std::span<std::byte>, 1> one{memory};
  std::vector<Pin> pins = FERRY_TRY(pin_all(one, may, act));
  return std::move(pins.front());
}

bool PinningDomain::has_all(std::span<const std::span<std::byte>> memory, DeviceMay may) {
  const std::lock_guard lock(mutex_);
  return std::ranges::all_of(memory, [&](std::span<std::byte> one) {
    return one.empty() || known({one.data(), one.size(), may}) != nullptr;
  });
}

Result<std::vector<PinningDomain::Pin>> PinningDomain::pin_all(
    std::span<const std::span<std::byte>> memory, DeviceMay may, const std::string& act) {
  const std::lock_guard lock(mutex_);
  std::vector<Pin> pins;
  std::uint64_t more = 0;
  for (const std::span<std::byte> one : memory) {
    pins.push_back(known({one.data(), one.size(), may}));
    if (!pins.back()) more += one.size();
  }
  if (more > 0) FERRY_TRY(check_lockable(more, lock_limit(), act));
  for (std::size_t i = 0; i < memory.size(); ++i) {
    if (pins[i] || memory[i].empty()) continue;
    pins[i] = FERRY_TRY(add({memory[i].data(), memory[i].size(), may}, memory[i], may, act));
  }
  return pins;
}

std::shared_ptr<ChunkPool> PinningDomain::chunks_of(const GuestMemory& memory, std::uint64_t most) {
  const std::lock_guard lock(mutex_);
  std::erase_if(pools_, [](const auto& pool) { return pool.expired(); });
  for (const std::weak_ptr<ChunkPool>& one : pools_) {
    auto pool = one.lock();
    if (pool && pool->is_of(memory)) return pool;
  }
  auto pool = std::make_shared<ChunkPool>(shared_from_this(), memory, most);
  pools_.push_back(pool);
  return pool;
}

Result<std::shared_ptr<PinningDomain>> PinningDomains::of(Connection& connection) {
  std::weak_ptr<PinningDomain>& known = domains_[connection.device()];
  if (auto domain = known.lock()) return domain;
  auto domain = PinningDomain::create(FERRY_TRY(connection.make_domain()));
  known = domain;
  return domain;
}

}  // namespace ferry
