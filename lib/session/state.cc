#include "session/state.h"

namespace ferry {

std::optional<SourceState> next(SourceState state, SourceEvent event) noexcept {
  using enum SourceState;
  using enum SourceEvent;
  if (event == failed) {
    switch (state) {
      case idle:
      case connecting:
      case precopy:
      case paused:
      case prepared:
        return resumed;
      case committing:
        return unknown;
      case done:
      case resumed:
      case unknown:
        return std::nullopt;
    }
  }
  struct Step {
    SourceState from;
    SourceEvent event;
    SourceState to;
  };
  static constexpr Step steps[] = {
      {idle, connect, connecting}, {connecting, agreed, precopy},  {precopy, pause, paused},
      {paused, ready, prepared},   {prepared, commit, committing}, {committing, started, done},
  };
  for (const Step& step : steps) {
    if (step.from == state && step.event == event) return step.to;
  }
  return std::nullopt;
}

Owner owner_in(SourceState state) noexcept {
  switch (state) {
    case SourceState::done:
      return Owner::destination;
    case SourceState::committing:
    case SourceState::unknown:
      return Owner::unknown;
    default:
      return Owner::source;
  }
}

std::string_view to_string(SourceState state) noexcept {
  using enum SourceState;
  switch (state) {
    case idle:
      return "idle";
    case connecting:
      return "connecting";
    case precopy:
      return "precopy";
    case paused:
      return "paused";
    case prepared:
      return "prepared";
    case committing:
      return "committing";
    case done:
      return "done";
    case resumed:
      return "resumed";
    case unknown:
      return "unknown";
  }
  return "?";
}

std::optional<DestinationState> next(DestinationState state, DestinationEvent event) noexcept {
  using enum DestinationState;
  using enum DestinationEvent;
  struct Step {
    DestinationState from;
    DestinationEvent event;
    DestinationState to;
  };
  static constexpr Step steps[] = {
      {waiting, layout, receiving}, {receiving, prepared, ready}, {ready, commit, starting},
      {starting, started, running}, {waiting, failed, aborted},   {receiving, failed, aborted},
      {ready, failed, aborted},     {starting, failed, crashed},
  };
  for (const Step& step : steps) {
    if (step.from == state && step.event == event) return step.to;
  }
  return std::nullopt;
}

Owner owner_in(DestinationState state) noexcept {
  switch (state) {
    case DestinationState::starting:
    case DestinationState::running:
    case DestinationState::crashed:
      return Owner::destination;
    default:
      return Owner::source;
  }
}

std::string_view to_string(DestinationState state) noexcept {
  switch (state) {
    case DestinationState::waiting:
      return "waiting";
    case DestinationState::receiving:
      return "receiving";
    case DestinationState::ready:
      return "ready";
    case DestinationState::starting:
      return "starting";
    case DestinationState::running:
      return "running";
    case DestinationState::aborted:
      return "aborted";
    case DestinationState::crashed:
      return "crashed";
  }
  return "?";
}

}  // namespace ferry
