/**
 * express-images-router: an Express router for image generation. Providers, storage and budgets have subpaths of their
 * own.
 */
export type { ImagesRouterControls, SweepControls, SweepReport } from './controls.js';
export type {
  Balance,
  BudgetStore,
  CommitLine,
  Hold,
  Once,
  ReserveLine,
  ReserveRequest,
  ReserveResult,
  Seen,
} from './core/budget.js';
export type {
  Budget,
  BudgetAmount,
  BudgetScope,
  BudgetWindow,
  Caller,
  ImageCount,
  Role,
} from './core/caller.js';
export type {
  BudgetSoftLimit,
  EventBase,
  HoldLost,
  HoldSettled,
  HoldSkipped,
  HoldUnsettled,
  ImagesEvent,
  InternalError,
  PriceCeilingExceeded,
  RequestCompleted,
  RequestFailed,
  StorageDamaged,
  StorageFailed,
  StorageLanded,
  StorageLost,
  StorageSpooled,
  StorageUndeleted,
  UpstreamCall,
  UsageImplausible,
  UsageLost,
  UsageUnwritten,
  UsageWritten,
} from './core/events.js';
export type {
  EncodedImage,
  ImageContentType,
  ImageFormat,
  Metadata,
  MicroUsd,
  Operation,
  Size,
} from './core/image.js';
export type { BackendSettings, ModelAlias, ModelLimits, ModelSettings } from './core/model-settings.js';
export type {
  BlockedEvent,
  EndEvent,
  GenerateCall,
  GenerateEvent,
  ImageEvent,
  Lifecycle,
  Model,
  ModelFeature,
  PreviewEvent,
  Price,
  PriceTable,
  Provider,
  SizeList,
  SizeRange,
  SizeRule,
  Source,
  Successor,
  TokenPrice,
  TokenRates,
  TokenUsage,
} from './core/provider.js';
export type {
  ByteRange,
  DirectUrlOptions,
  GetOptions,
  MediaStorage,
  PutOptions,
  StoredInfo,
  StoredObject,
  SweepOptions,
  SweepResult,
  VerifyResult,
} from './core/storage.js';
export type {
  UsageFilter,
  UsageGrouping,
  UsagePage,
  UsagePlace,
  UsageRow,
  UsageStore,
  UsageSum,
} from './core/usage.js';
export {
  type BudgetOptions,
  daily,
  hourly,
  imageCount,
  monthly,
  perMinute,
  total,
  usd,
} from './core/windows.js';
export {
  type Billed,
  ConfigError,
  type ErrorCode,
  type ErrorDetail,
  ImagesError,
  type ImagesErrorOptions,
  isImagesError,
  isProviderError,
  ProviderError,
  type ProviderErrorKind,
  type ProviderErrorOptions,
} from './errors.js';
export { anyone, bearerKeys, hashKey, type Identify, type KeyTable } from './http/identify.js';
export type { OpenApiDocument } from './http/openapi.js';
export type {
  ImagesRouterOptions,
  LimitOptions,
  MediaOptions,
  PictureOptions,
  SpendOptions,
} from './options.js';
export { createImagesRouter, type ImagesRouter } from './router.js';
export type { TransformOptions } from './transform-options.js';
