import {
  type DriftlockError,
  PolicyViolationError,
  type AdjustOptions,
  type Authorization,
  type FreezeOptions,
} from "@driftlock/core";
import { answering, costing } from "../pitfalls/kit.js";
import { instant, sleep, stage, standing, type Scene, type Staged } from "./scene.js";

/** A process with one policy, that does what it is told over its IPC channel. */
let staged: Staged;
const open = new Map<string, Authorization>();
const denied: unknown[] = [];

interface Order {
  readonly usd: number;
  readonly labels?: Record<string, string>;
  readonly waitMs?: number;
}

/** What became of one call of a burst: when it was with the provider, or who refused it. */
export type Fate =
  | { readonly from: number; readonly to: number; readonly user: string | undefined }
  | { readonly refusedBy: string }
  | { readonly failed: string };

const commands = {
  async open(scene: Scene): Promise<string> {
    staged = stage(scene);
    staged.policy.on("call-denied", (event) => denied.push(event));
    return staged.policy.ledger.atomicity;
  },

  /** Parallel calls of `usd`, each with the provider for `ms`; user_id in turn from `users`. */
  async burst(order: { calls: number; usd: number; ms: number; users?: readonly string[] }): Promise<Fate[]> {
    const { calls, usd, ms, users = [] } = order;
    return Promise.all(
      Array.from({ length: calls }, async (_, i): Promise<Fate> => {
        const user = users[i % users.length];
        const labels: Record<string, string> = user === undefined ? {} : { user_id: user };
        let from = 0;
        let to = 0;
        try {
          await staged.policy.run({ ...costing(usd), labels }, async () => {
            from = instant();
            await sleep(ms);
            to = instant();
            return answering(usd);
          });
          return { from, to, user };
        } catch (error) {
          return PolicyViolationError.isInstance(error) ? { refusedBy: error.ruleName } : { failed: String(error) };
        }
      }),
    );
  },

  async authorize({ usd, ...order }: Order): Promise<{ id: string; ticket: string; at: number }> {
    const auth = await staged.policy.authorize({ ...costing(usd), ...order });
    open.set(auth.id, auth);
    return { id: auth.id, ticket: auth.ticket, at: instant() };
  },

  async release({ id }: { id: string }): Promise<{ at: number }> {
    const at = instant();
    await open.get(id)!.release();
    return { at };
  },

  async settleTicket({ ticket, usd }: { ticket: string; usd: number }) {
    return staged.policy.settle(ticket, { costUsd: usd });
  },

  standing: (labels?: Record<string, string>) => standing(staged.policy, labels),
  denied: async () => denied,
  freeze: (options: FreezeOptions) => staged.policy.freeze(options),
  thaw: (options: FreezeOptions) => staged.policy.thaw(options),
  adjust: ({ rule, ...options }: AdjustOptions & { rule: string }) => staged.policy.adjust(rule, options),
};

export type Commands = typeof commands;

interface Message {
  readonly seq: number;
  readonly name: keyof Commands;
  readonly input: never;
}

process.on("message", ({ seq, name, input }: Message) => {
  const answer = (more: object) => process.send!({ seq, ...more });
  commands[name](input).then(
    (output) => answer({ output }),
    (error: Error) => {
      const { ruleName, decision, code } = error as Partial<PolicyViolationError & DriftlockError>;
      answer({ error: { name: error.name, message: error.message, ruleName, code, metadata: decision?.metadata } });
    },
  );
});
// Its owner is gone, by whatever signal.
process.on("disconnect", () => process.exit());
