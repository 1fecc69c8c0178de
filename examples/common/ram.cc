#include "common/ram.h"

#include <sys/mman.h>

#include <cerrno>
#include <string>
#include <utility>

namespace example {

ferry::Result<Ram> Ram::create(std::uint64_t bytes) {
  const std::string what = "make guest memory of " + std::to_string(bytes) + " bytes";
  ferry::UniqueFd fd(::memfd_create("guest-ram", MFD_CLOEXEC));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    return ferry::fail_sys(ferry::Errc::guest, errno, what);
  }
  void* const at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (at == MAP_FAILED) return ferry::fail_sys(ferry::Errc::guest, errno, what);
  return Ram(std::move(fd), {static_cast<std::byte*>(at), bytes});
}

Ram::Ram(Ram&& other) noexcept
    : fd_(std::move(other.fd_)), bytes_(std::exchange(other.bytes_, {})) {}

Ram::~Ram() {
  if (!bytes_.empty()) ::munmap(bytes_.data(), bytes_.size());
}

std::uint64_t* Ram::word(std::uint64_t address) const noexcept {
  return reinterpret_cast<std::uint64_t*>(bytes_.data() + address);
}

ferry::Result<ferry::GuestMemory> Ram::as_guest_memory() const {
  return ferry::GuestMemory::create({{.name = "ram",
                                      .length = bytes_.size(),
                                      .host = bytes_.data(),
                                      .backing = ferry::Backing::shmem,
                                      .fd = fd_.get()}});
}

ferry::Result<void> Ram::populate() {
  if (::madvise(bytes_.data(), bytes_.size(), MADV_POPULATE_WRITE) == 0) return {};
  return ferry::fail_sys(ferry::Errc::guest, errno, "populate guest memory");
}

}  // namespace example
