// send() and receive(): one migration is one object, made here.
#include <algorithm>
#include <thread>

#include "ferry/guest.h"
#include "ferry/runtime.h"
#include "session/destination.h"
#include "session/image_loader.h"
#include "session/image_recipient.h"
#include "session/remote_recipient.h"
#include "session/source.h"
#include "wire/control.h"
#include "wire/limits.h"

namespace ferry {
namespace {

Outcome failed(Owner owner, Error error) {
  return {.owner = owner, .report = {}, .why_not = std::move(error)};
}

/// What all ways of sending share, once `open` has reached whoever is to have the guest.
template <class Kind = RemoteRecipient, class Open>
Outcome send_to(Runtime& runtime, SourceGuest& guest, const SendOptions& options,
                std::stop_token stop, Open open) {
  if (auto sane = wire::check_layout(guest.memory().layout(), Errc::usage); !sane) {
    return failed(Owner::source, std::move(sane).error());
  }
  PrecopyGauge gauge;
  Kind recipient(runtime, guest.memory(), options, gauge, stop);
  Source source(guest, recipient, options, gauge, stop);
  Outcome outcome;
  Result<void> done = open(recipient);
  if (done) done = source.run();
  recipient.add_to(outcome.report);
  outcome.report.bytes = guest.memory().total_bytes();
  source.add_to(outcome.report);
  outcome.report.verify = options.verify;
  outcome.owner = owner_in(source.state());
  if (done) {
    recipient.end();
  } else {
    outcome.why_not = recipient.give_up(std::move(done).error());
  }
  if (const auto& also = source.not_resumed()) {
    outcome.why_not->context += "; and the guest could not be resumed: " + also->text();
  }
  return outcome;
}

/// A guest that was written down becomes one that runs.
Outcome load_image(Runtime& runtime, DestinationGuest& guest, Places& places, const Uri& from,
                   const ReceiveOptions& options, std::stop_token stop) {
  ImageLoader loader(runtime, guest, options, std::move(stop));
  Outcome outcome;
  auto done = loader.run(places, from);
  loader.add_to(outcome.report);
  outcome.owner = owner_in(loader.state());
  if (!done) outcome.why_not = std::move(done).error();
  return outcome;
}

template <class Open>
Outcome receive_from(Runtime& runtime, DestinationGuest& guest, const ReceiveOptions& options,
                     std::stop_token stop, Open open) {
  Destination destination(runtime, guest, options, std::move(stop));
  Outcome outcome;
  Result<void> done = open(destination);
  if (done) done = destination.run();
  destination.add_to(outcome.report);
  outcome.owner = owner_in(destination.state());
  if (!done) outcome.why_not = std::move(done).error();
  return outcome;
}

Result<void> check_precopy(const SendOptions& options) {
  if (options.max_downtime.count() < 0 || options.max_time.count() < 0 ||
      options.switch_allowance.count() < 0 || options.ready_timeout.count() < 0) {
    return fail(Errc::usage, "send: a time is negative");
  }
  constexpr std::chrono::hours k_longest{24 * 365};
  if (options.max_downtime > k_longest || options.max_time > k_longest ||
      options.switch_allowance > k_longest || options.ready_timeout > k_longest) {
    return fail(Errc::usage, "send: a time is more than a year");
  }
  if (options.when_not_converging == NotConverging::throttle && !options.throttle) {
    return fail(Errc::usage, "send: a guest is to be slowed, and there is nothing to slow it with",
                "SendOptions::throttle");
  }
  return {};
}

Result<void> check(const SendOptions& options) {
  if (options.channels < 1 || options.channels > wire::k_max_channels) {
    return fail(Errc::usage, "send: channels must be 1 to " + std::to_string(wire::k_max_channels));
  }
  return check_precopy(options);
}

struct Address {
  Transport* transport;
  Uri uri;
};

Result<Address> find(const Runtime& runtime, std::string_view text) {
  Uri uri = FERRY_TRY(Uri::parse(text));
  Transport* transport = FERRY_TRY(runtime.transport(uri.scheme));
  return Address{transport, std::move(uri)};
}

}  // namespace

std::string_view to_string(Owner owner) noexcept {
  switch (owner) {
    case Owner::source:
      return "source";
    case Owner::destination:
      return "destination";
    case Owner::unknown:
      return "unknown";
  }
  return "?";
}

std::string_view to_string(Outlook outlook) noexcept {
  switch (outlook) {
    case Outlook::unknown:
      return "unknown";
    case Outlook::converging:
      return "converging";
    case Outlook::not_converging:
      return "not_converging";
  }
  return "?";
}

unsigned default_channels() noexcept {
  return std::clamp(std::thread::hardware_concurrency(), 1u, 4u);
}

Result<GuestMemory> DestinationGuest::map_placed_memory(const Layout& wanted) {
  return map_memory(wanted);
}

Outcome send(Runtime& runtime, SourceGuest& guest, std::string_view uri, const SendOptions& options,
             std::stop_token stop) {
  if (auto sane = check(options); !sane) return failed(Owner::source, std::move(sane).error());
  auto address = find(runtime, uri);
  if (!address) return failed(Owner::source, std::move(address).error());
  if (Places* const places = address->transport->places()) {
    return send_to<ImageRecipient>(
        runtime, guest, options, std::move(stop),
        [&](ImageRecipient& recipient) { return recipient.connect(*places, address->uri); });
  }
  return send_to(runtime, guest, options, std::move(stop), [&](RemoteRecipient& recipient) {
    return recipient.connect(*address->transport, address->uri);
  });
}

Outcome send_over(Runtime& runtime, SourceGuest& guest, std::unique_ptr<Channel> channel,
                  const SendOptions& options, std::stop_token stop) {
  if (auto sane = check_precopy(options); !sane) {
    return failed(Owner::source, std::move(sane).error());
  }
  return send_to(runtime, guest, options, std::move(stop),
                 [&](RemoteRecipient& recipient) { return recipient.adopt(std::move(channel)); });
}

Outcome receive(Runtime& runtime, DestinationGuest& guest, std::string_view uri,
                const ReceiveOptions& options, std::stop_token stop) {
  auto address = find(runtime, uri);
  if (!address) return failed(Owner::source, std::move(address).error());
  if (Places* const places = address->transport->places()) {
    return load_image(runtime, guest, *places, address->uri, options, std::move(stop));
  }
  return receive_from(runtime, guest, options, std::move(stop), [&](Destination& destination) {
    return destination.listen(*address->transport, address->uri);
  });
}

Outcome receive_over(Runtime& runtime, DestinationGuest& guest, std::unique_ptr<Channel> channel,
                     const ReceiveOptions& options, std::stop_token stop) {
  return receive_from(runtime, guest, options, std::move(stop), [&](Destination& destination) {
    return destination.adopt(std::move(channel));
  });
}

}  // namespace ferry
