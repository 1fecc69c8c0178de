#include "tests/session/mutated_guest.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace ferry::test {
namespace {

constexpr std::uint64_t k_most_pages = 1 << 16;

void* map_shared(std::size_t bytes) {
  void* const at =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) std::abort();
  return at;
}

}  // namespace

/// Between the two processes. `dirty` is set behind the write that it tells of, and taken before
/// the page is read: what is read too early is told of later.
struct MutatedSource::Shared {
  std::atomic<bool> hold = false;
  std::atomic<bool> held = false;
  std::atomic<std::uint64_t> rest_nanoseconds = 0;
  std::atomic<std::uint64_t> writes = 0;
  std::atomic<std::uint64_t> dirty[k_most_pages / 64] = {};
};

MutatedSource::MutatedSource(std::uint64_t pages, std::uint64_t hot)
    : pages_(pages),
      shared_(new (map_shared(sizeof(Shared))) Shared),
      ram_(static_cast<std::byte*>(map_shared(pages * k_unit_bytes))) {
  if (pages > k_most_pages || hot == 0 || hot > pages) std::abort();
  for (std::uint64_t page = 0; page < pages; ++page) {
    std::memset(ram_ + page * k_unit_bytes, static_cast<int>(page % 251 + 1), k_unit_bytes);
  }
  memory_ = GuestMemory::create({{.name = "ram",
                                  .length = pages * k_unit_bytes,
                                  .host = ram_,
                                  .backing = Backing::shmem}})
                .value();
  child_ = ::fork();
  if (child_ < 0) std::abort();
  if (child_ == 0) mutate(hot);
}

MutatedSource::~MutatedSource() {
  ::kill(child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
  ::munmap(ram_, pages_ * k_unit_bytes);
  ::munmap(shared_, sizeof(Shared));
}

/// In the child: no memory is allocated, for the parent may have had threads.
void MutatedSource::mutate(std::uint64_t hot) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (std::uint64_t number = 1;; ++number) {
    while (shared_->hold.load()) {
      shared_->held.store(true);
      constexpr timespec k_glance{0, 100'000};
      ::ppoll(nullptr, 0, &k_glance, nullptr);
    }
    shared_->held.store(false);
    const std::uint64_t page = number * 0x9e3779b97f4a7c15 % hot;
    auto* const words = reinterpret_cast<std::uint64_t*>(ram_ + page * k_unit_bytes);
    // All over the page, so that a copy of it that is taken meanwhile is torn.
    for (std::size_t i = 0; i < k_unit_bytes / 8; i += 8) words[i] = number;
    shared_->dirty[page / 64].fetch_or(std::uint64_t{1} << page % 64);
    shared_->writes.store(number);
    const timespec rest{0, static_cast<long>(shared_->rest_nanoseconds.load())};
    if (rest.tv_nsec > 0) ::ppoll(nullptr, 0, &rest, nullptr);  // as a slowed vCPU does
  }
}

std::span<const std::byte> MutatedSource::bytes() const noexcept {
  return {ram_, pages_ * k_unit_bytes};
}

std::uint64_t MutatedSource::writes() const noexcept { return shared_->writes.load(); }

void MutatedSource::wait_for_a_write() const {
  // The next may have begun already, and what it wrote may have been harvested: it is the one
  // behind it.
  for (const std::uint64_t before = writes(); writes() < before + 2;) ::sched_yield();
}

void MutatedSource::set_rest(std::chrono::nanoseconds rest) noexcept {
  shared_->rest_nanoseconds.store(static_cast<std::uint64_t>(rest.count()));
}

void MutatedSource::write_as_device(std::uint64_t page, std::byte value) {
  std::memset(ram_ + page * k_unit_bytes, static_cast<int>(value), k_unit_bytes);
  shared_->dirty[page / 64].fetch_or(std::uint64_t{1} << page % 64);
}

/// The child says that it is held where it has no write under way.
Result<void> MutatedSource::pause() {
  shared_->held.store(false);
  shared_->hold.store(true);
  while (!shared_->held.load()) ::sched_yield();
  ++pauses_;
  return {};
}

Result<void> MutatedSource::resume() {
  shared_->hold.store(false);
  ++resumes_;
  return {};
}

Result<void> MutatedSource::save_state(StateWriter& out) {
  return on_save ? on_save(out) : SourceGuest::save_state(out);
}

Result<void> MutatedSource::harvest(DirtyBitmap& into) {
  if (runs() && shared_->rest_nanoseconds.load() == 0) wait_for_a_write();
  for (std::uint64_t word = 0; word < k_most_pages / 64; ++word) {
    for (std::uint64_t bits = shared_->dirty[word].exchange(0); bits != 0; bits &= bits - 1) {
      const std::uint64_t page = word * 64 + static_cast<unsigned>(__builtin_ctzll(bits));
      into.mark({0, page * k_unit_bytes, k_unit_bytes});
    }
  }
  return {};
}

}  // namespace ferry::test
