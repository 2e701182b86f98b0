/** What the budgets that bind a caller have left. */
import type { Budget } from '../core/caller.js';
import type { BucketBalance, Ledger } from '../core/ledger.js';
import { formatUsd } from '../core/prices.js';
import { sendJson } from './exchange.js';
import type { Handler } from './handle.js';
import type { Intake } from './intake.js';

/** What budget listings take. */
export interface BudgetsOptions {
  /** The steps before. */
  readonly intake: Intake;
  /** Knows the balances. */
  readonly ledger: Ledger;
}

/** An amount in a budget's unit as on the wire: decimal dollars as a string, or a number of pictures. */
export function budgetAmount({ unit }: Budget, amount: number): string | number {
  return unit === 'usd' ? formatUsd(amount) : amount;
}

/** An instant as on the wire; `null` never. */
export function resetTime(resetsAt: number | null): string | null {
  return resetsAt === null ? null : new Date(resetsAt).toISOString();
}

function budgetItem({ bucket: { budget, resetsAt }, spent, held, left }: BucketBalance): object {
  const { name, per, unit, window, limit, softLimit } = budget;
  return {
    name,
    per,
    unit,
    period: window,
    limit: budgetAmount(budget, limit),
    // What everyone together has spent is nobody's business.
    ...(per !== 'everyone' && {
      spent: budgetAmount(budget, spent),
      held: budgetAmount(budget, held),
      left: budgetAmount(budget, left),
    }),
    resets_at: resetTime(resetsAt),
    soft_limit_pct: softLimit === undefined ? null : Math.round(softLimit * 100),
  };
}

/** `GET /v1/accounting/budgets`. */
export function budgetsHandler({ intake, ledger }: BudgetsOptions): Handler {
  return async (exchange) => {
    const { res, requestId } = exchange;
    const caller = await intake.caller(exchange, 'viewer');
    const items = (await ledger.read(caller)).map(budgetItem);
    sendJson(res, 200, { status: 'ok', data: { items }, meta: { request_id: requestId } });
  };
}
