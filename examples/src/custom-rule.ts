/** A rule of your own: a class, or a plain object. Both see the call and answer allow, block, downgrade or a claim. */
import { BaseRule, PolicyEngine, RuleDecision, type Context, type Rule } from "@driftlock/core";
import { ManualClock } from "@driftlock/core/testing";

class BlockWeekendsRule extends BaseRule {
  evaluate({ now }: Context) {
    const isWeekend = [0, 6].includes(new Date(now).getUTCDay());
    return isWeekend ? RuleDecision.block({ reason: "no weekend spend" }) : RuleDecision.allow();
  }
}

// It may wait for an answer from elsewhere. A rule that throws blocks the call.
const ticketRule: Rule = {
  name: "TicketRule",
  async evaluate({ labels, estimate }) {
    if (estimate.costUsd < 0.05 || (await isOpen(labels["ticket"]))) return RuleDecision.allow();
    return RuleDecision.block({ reason: "calls above $0.05 need an open ticket" });
  },
};

async function isOpen(ticket: string | undefined): Promise<boolean> {
  return ticket === "OPS-1"; // asks the tracker
}

// A clock to turn by hand, so that this prints the same on every day. Leave it out and the machine's counts.
const clock = new ManualClock(Date.parse("2026-03-13T12:00Z"));
const policy = new PolicyEngine({ rules: [new BlockWeekendsRule(), ticketRule], clock });

const small = { model: "gpt-4o", inputTokens: 500, maxOutputTokens: 500 };
const large = { model: "gpt-4o", inputTokens: 500, maxOutputTokens: 10_000 };

// A dry run asks every rule and sends nothing.
async function show(title: string, request: Parameters<typeof policy.evaluate>[0]) {
  const verdicts = await policy.evaluate(request);
  const blocks = verdicts
    .filter(({ allow }) => !allow)
    .map(({ rule, metadata }) => `${rule}: ${String(metadata["reason"])}`);
  console.log(`${title}: ${blocks.length === 0 ? "allowed" : blocks.join("; ")}`);
}
await show("Friday, small", small);
await show("Friday, large", large);
await show("Friday, large, with a ticket", { ...large, labels: { ticket: "OPS-1" } });
clock.advance(86_400_000);
await show("Saturday, small", small);
