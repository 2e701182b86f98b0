/** What a generate body would resolve to and cost; nothing is spent. */
import type { Images } from '../core/generate.js';
import type { Ledger } from '../core/ledger.js';
import { formatUsd } from '../core/prices.js';
import { budgetAmount, resetTime } from './budgets.js';
import { sendJson } from './exchange.js';
import type { Handler } from './handle.js';
import type { Intake } from './intake.js';
import type { OperationReader } from './operation.js';

/** What quotes take. */
export interface QuoteOptions {
  /** The steps before. */
  readonly intake: Intake;
  /** The use case. */
  readonly images: Images;
  /** Knows the balances. */
  readonly ledger: Ledger;
}

/** `POST /v1/inference/images/quote`. */
export function quoteHandler({ intake, images, ledger }: QuoteOptions, generate: OperationReader): Handler {
  return async (exchange) => {
    const { res, requestId } = exchange;
    const caller = await intake.caller(exchange, 'user');
    const { request } = await generate.read(exchange);
    const { target, plan, ceiling, expectedMicroUsd } = images.prepare(request, { caller, bare: false });
    const balances = await ledger.read(caller);
    const served = target.serving.slug !== target.name;
    const data = {
      model: target.name,
      ...(served && { served_by: target.serving.slug }),
      adapted: plan.adapted,
      cost: formatUsd(expectedMicroUsd),
      ceiling: formatUsd(ceiling.microUsd),
      currency: 'USD',
      budgets: balances.map(({ bucket: { budget, resetsAt }, left }) => ({
        name: budget.name,
        ...(budget.per !== 'everyone' && { left: budgetAmount(budget, left) }),
        resets_at: resetTime(resetsAt),
      })),
    };
    sendJson(res, 200, { status: 'ok', data, meta: { request_id: requestId } });
  };
}
