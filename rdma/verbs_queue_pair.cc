#include "rdma/verbs_queue_pair.h"

#include <fcntl.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>

namespace ferry {
namespace {

template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* what) const noexcept {
    (void)Free(what);
  }
};
using Domain = std::unique_ptr<ibv_pd, Freed<ibv_dealloc_pd>>;
using Memory = std::unique_ptr<ibv_mr, Freed<ibv_dereg_mr>>;
using EventFd = std::unique_ptr<ibv_comp_channel, Freed<ibv_destroy_comp_channel>>;
using Completions = std::unique_ptr<ibv_cq, Freed<ibv_destroy_cq>>;

class VerbsRegistration final : public Registration {
 public:
  explicit VerbsRegistration(Memory memory) : memory_(std::move(memory)) {}
  std::uint32_t local_key() const noexcept override { return memory_->lkey; }
  std::uint32_t remote_key() const noexcept override { return memory_->rkey; }

 private:
  Memory memory_;
};

class VerbsDomain final : public RdmaDomain {
 public:
  explicit VerbsDomain(Domain domain) : domain_(std::move(domain)) {}
  ibv_pd* get() const noexcept { return domain_.get(); }

  Result<std::unique_ptr<Registration>> register_memory(std::span<std::byte> memory,
                                                        DeviceMay may) override {
    int access = 0;
    if (may != DeviceMay::read) access |= IBV_ACCESS_LOCAL_WRITE;
    if (may == DeviceMay::let_peers_write) access |= IBV_ACCESS_REMOTE_WRITE;
    Memory registered(::ibv_reg_mr(domain_.get(), memory.data(), memory.size(), access));
    if (!registered) {
      return fail_sys(Errc::system, errno,
                      "register " + std::to_string(memory.size()) + " bytes of memory");
    }
    return std::make_unique<VerbsRegistration>(std::move(registered));
  }

 private:
  Domain domain_;
};

Completion::Fate fate_of(ibv_wc_status status) noexcept {
  using enum Completion::Fate;
  switch (status) {
    case IBV_WC_SUCCESS:
      return done;
    case IBV_WC_WR_FLUSH_ERR:
      return flushed;
    case IBV_WC_RETRY_EXC_ERR:
    case IBV_WC_RESP_TIMEOUT_ERR:
      return no_answer;
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return no_room;
    case IBV_WC_REM_ACCESS_ERR:
    case IBV_WC_REM_INV_REQ_ERR:  // how a queue pair answers that takes no writes at all
      return not_allowed;
    default:
      return failed;
  }
}

ibv_send_wr as_work(const SendRequest& request, ibv_sge& piece) noexcept {
  piece = {.addr = reinterpret_cast<std::uint64_t>(request.from.at),
           .length = request.from.length,
           .lkey = request.from.key};
  ibv_send_wr work{};
  work.wr_id = request.id;
  work.sg_list = &piece;
  work.num_sge = 1;
  work.send_flags = request.signalled == Signalled::yes ? IBV_SEND_SIGNALED : 0;
  work.opcode = IBV_WR_SEND;
  if (request.kind == SendRequest::Kind::write) {
    work.opcode = IBV_WR_RDMA_WRITE;
    work.wr.rdma.remote_addr = request.remote_address;
    work.wr.rdma.rkey = request.remote_key;
  }
  return work;
}

class VerbsQueuePair final : public QueuePair {
 public:
  static Result<std::unique_ptr<QueuePair>> create(rdma_cm_id* id, ibv_pd* domain,
                                                   QueueLengths lengths) {
    std::unique_ptr<VerbsQueuePair> pair(new VerbsQueuePair(id));
    FERRY_TRY(pair->make_completion_queues(lengths));
    ibv_qp_init_attr wanted{};
    wanted.qp_type = IBV_QPT_RC;
    wanted.send_cq = pair->sent_.get();
    wanted.recv_cq = pair->received_.get();
    wanted.cap.max_send_wr = lengths.sending;
    wanted.cap.max_recv_wr = lengths.receiving;
    wanted.cap.max_send_sge = 1;
    wanted.cap.max_recv_sge = 1;
    if (::rdma_create_qp(id, domain, &wanted) != 0) {
      return fail_sys(Errc::system, errno, "make a queue pair");
    }
    return pair;
  }

  ~VerbsQueuePair() override {
    if (id_->qp != nullptr) ::rdma_destroy_qp(id_);
  }

  Result<void> post_receive(std::uint64_t id, Segment into) override {
    ibv_sge piece{
        .addr = reinterpret_cast<std::uint64_t>(into.at), .length = into.length, .lkey = into.key};
    ibv_recv_wr work{};
    work.wr_id = id;
    work.sg_list = &piece;
    work.num_sge = 1;
    ibv_recv_wr* refused = nullptr;
    return checked(::ibv_post_recv(id_->qp, &work, &refused), "post a buffer");
  }

  Result<void> post(std::span<const SendRequest> requests) override {
    std::array<ibv_send_wr, k_chain> works;
    std::array<ibv_sge, k_chain> pieces;
    while (!requests.empty()) {
      const std::size_t count = std::min(requests.size(), k_chain);
      for (std::size_t i = 0; i < count; ++i) {
        works[i] = as_work(requests[i], pieces[i]);
        if (i > 0) works[i - 1].next = &works[i];
      }
      ibv_send_wr* refused = nullptr;
      FERRY_TRY(checked(::ibv_post_send(id_->qp, works.data(), &refused), "post a request"));
      requests = requests.subspan(count);
    }
    return {};
  }

  Result<std::size_t> poll(Side side, std::span<Completion> into) override {
    std::array<ibv_wc, k_chain> found;
    const int room = static_cast<int>(std::min(into.size(), found.size()));
    const int count = ::ibv_poll_cq(queue(side).get(), room, found.data());
    if (count < 0) return fail(Errc::system, "poll for completions");
    for (int i = 0; i < count; ++i) {
      const ibv_wc& one = found[static_cast<std::size_t>(i)];
      Completion& out = into[static_cast<std::size_t>(i)];
      out = {.id = one.wr_id, .fate = fate_of(one.status), .bytes = one.byte_len};
      if (one.status != IBV_WC_SUCCESS) out.why = ::ibv_wc_status_str(one.status);
    }
    return static_cast<std::size_t>(count);
  }

  Result<void> arm(Side side) override {
    return checked(::ibv_req_notify_cq(queue(side).get(), 0), "ask for completions");
  }

  int fd() const noexcept override { return events_->fd; }

  Result<void> take_events() override {
    ibv_cq* queue = nullptr;
    void* context = nullptr;
    // Acknowledged one by one: a queue that has some unacknowledged cannot be destroyed.
    while (::ibv_get_cq_event(events_.get(), &queue, &context) == 0) ::ibv_ack_cq_events(queue, 1);
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return {};
    return fail_sys(Errc::system, errno, "hear of completions");
  }

  Result<void> let_peer(PeerMay may) override {
    ibv_qp_attr attributes{};
    attributes.qp_access_flags = IBV_ACCESS_LOCAL_WRITE;
    if (may == PeerMay::write_too) attributes.qp_access_flags |= IBV_ACCESS_REMOTE_WRITE;
    return checked(::ibv_modify_qp(id_->qp, &attributes, IBV_QP_ACCESS_FLAGS),
                   "say whether the peer may write");
  }

 private:
  static constexpr std::size_t k_chain = 16;

  explicit VerbsQueuePair(rdma_cm_id* id) noexcept : id_(id) {}

  Result<void> make_completion_queues(QueueLengths lengths) {
    events_.reset(::ibv_create_comp_channel(id_->verbs));
    if (!events_) return fail_sys(Errc::system, errno, "make a completion channel");
    const int flags = ::fcntl(events_->fd, F_GETFL);
    if (flags < 0 || ::fcntl(events_->fd, F_SETFL, flags | O_NONBLOCK) != 0) {
      return fail_sys(Errc::system, errno, "make a completion channel non-blocking");
    }
    const auto make = [this](std::uint32_t length) {
      return Completions(
          ::ibv_create_cq(id_->verbs, static_cast<int>(length), nullptr, events_.get(), 0));
    };
    sent_ = make(lengths.sending);
    received_ = make(lengths.receiving);
    if (!sent_ || !received_) return fail_sys(Errc::system, errno, "make a completion queue");
    return {};
  }

  const Completions& queue(Side side) const noexcept {
    return side == Side::sending ? sent_ : received_;
  }

  static Result<void> checked(int sys, const char* act) {
    if (sys == 0) return {};
    return fail_sys(Errc::system, sys < 0 ? errno : sys, act);
  }

  rdma_cm_id* const id_;  // outlives this, and has its queue pair
  EventFd events_;
  Completions sent_;  // after events_, which they tell of
  Completions received_;
};

}  // namespace

Result<std::unique_ptr<RdmaDomain>> make_verbs_domain(ibv_context* device) {
  Domain domain(::ibv_alloc_pd(device));
  if (!domain) return fail_sys(Errc::system, errno, "make a protection domain");
  return std::make_unique<VerbsDomain>(std::move(domain));
}

Result<std::unique_ptr<QueuePair>> make_verbs_queue_pair(rdma_cm_id* id, RdmaDomain& domain,
                                                         QueueLengths lengths) {
  return VerbsQueuePair::create(id, static_cast<VerbsDomain&>(domain).get(), lengths);
}

}  // namespace ferry
