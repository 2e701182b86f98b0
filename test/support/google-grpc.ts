/**
 * A real gRPC server in Google's place: `google.cloud.aiplatform.v1.PredictionService` from the protos inside the
 * SDK's package, with or without TLS.
 */
import aiplatform from '@google-cloud/aiplatform';
import { grpc } from 'google-gax';
import {
  createRecorder,
  type GoogleAnswer,
  type GoogleBody,
  type GoogleUpstream,
} from './google-upstream.js';
import type { SelfSigned } from './self-signed.js';

const { protos, helpers } = aiplatform;
const v1 = protos.google.cloud.aiplatform.v1;

/** Bytes as they are, for answers no honest server would give. */
export interface RawAnswer {
  readonly raw: Buffer;
}

type Call = grpc.ServerUnaryCall<unknown, object>;

/** What a message class of the SDK can do. */
interface MessageType<T> {
  decode(bytes: Uint8Array): T;
  fromObject(object: object): T;
  encode(message: T): { finish(): Uint8Array };
}

function method<Request, Response>(name: string, type: [MessageType<Request>, MessageType<Response>]) {
  const [request, response] = type;
  const encode = (answer: object) => Buffer.from(response.encode(response.fromObject(answer)).finish());
  return {
    path: `/google.cloud.aiplatform.v1.PredictionService/${name}`,
    requestStream: false,
    responseStream: false,
    requestDeserialize: (bytes: Buffer) => request.decode(bytes),
    requestSerialize: (bytes: Buffer) => bytes,
    responseSerialize: (answer: object) => ('raw' in answer ? (answer as RawAnswer).raw : encode(answer)),
    responseDeserialize: (bytes: Buffer) => bytes,
  } as const;
}

/** Starts a server on a free port of 127.0.0.1. */
export async function createGrpcUpstream(identity?: SelfSigned): Promise<GoogleUpstream> {
  const recorder = createRecorder();
  const server = new grpc.Server({
    'grpc.max_send_message_length': -1,
    'grpc.max_receive_message_length': -1,
  });

  function handle(rpc: 'predict' | 'generateContent') {
    return async (call: Call, callback: grpc.sendUnaryData<object>): Promise<void> => {
      const left = new Promise<boolean>((resolve) => {
        call.on('cancelled', () => resolve(true));
        call.on('finish', () => resolve(false));
      });
      const { resource, body } = rpc === 'predict' ? readPredict(call) : readContent(call);
      const headers = call.metadata.getMap();
      const answer = await recorder.answer({ rpc, resource, body, headers, left });
      if ('failure' in answer) callback(serviceError(answer.failure));
      else if ('json' in answer) callback(null, toMessage(rpc, answer.json));
      else if ('cut' in answer) server.forceShutdown();
    };
  }

  server.addService(
    {
      Predict: method('Predict', [v1.PredictRequest, v1.PredictResponse]),
      GenerateContent: method('GenerateContent', [v1.GenerateContentRequest, v1.GenerateContentResponse]),
    } as grpc.ServiceDefinition,
    { Predict: handle('predict'), GenerateContent: handle('generateContent') },
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', serverCredentials(identity), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  return {
    ...recorder,
    port,
    async close() {
      server.forceShutdown();
    },
  };
}

function serverCredentials(identity: SelfSigned | undefined): grpc.ServerCredentials {
  if (identity === undefined) return grpc.ServerCredentials.createInsecure();
  const { certificate, privateKey } = identity;
  return grpc.ServerCredentials.createSsl(null, [
    { private_key: Buffer.from(privateKey), cert_chain: Buffer.from(certificate) },
  ]);
}

function readPredict({ request }: Call): { resource: string; body: GoogleBody } {
  const { endpoint, instances, parameters, labels } = request as InstanceType<typeof v1.PredictRequest>;
  const body = {
    instances: instances.map((value) => helpers.fromValue(value as never)),
    parameters: helpers.fromValue(parameters as never),
    labels,
  };
  return { resource: endpoint, body: body as GoogleBody };
}

function readContent({ request }: Call): { resource: string; body: GoogleBody } {
  const message = request as InstanceType<typeof v1.GenerateContentRequest>;
  const { model, ...body } = v1.GenerateContentRequest.toObject(message, { enums: Number, bytes: String });
  return { resource: model, body };
}

function toMessage(rpc: 'predict' | 'generateContent', json: object): object {
  if ('raw' in json || rpc === 'generateContent') return json;
  const { predictions = [], ...rest } = json as { readonly predictions?: readonly object[] };
  return { ...rest, predictions: predictions.map((each) => helpers.toValue(each)) };
}

type Failure = Extract<GoogleAnswer, { failure: unknown }>['failure'];

/** With `google.rpc.RetryInfo` in its trailers where there is a delay. */
function serviceError({ code, message, retrySeconds }: Failure): Partial<grpc.StatusObject> {
  if (retrySeconds === undefined) return { code, details: message };
  const seconds = Math.floor(retrySeconds);
  const duration = { seconds, nanos: Math.round((retrySeconds - seconds) * 1e9) };
  const delay = protos.google.protobuf.Duration.encode(duration).finish();
  // `RetryInfo` is no part of the package; its only field is the first, a message.
  const value = Buffer.concat([Buffer.from([0x0a, delay.length]), delay]);
  const details = [{ type_url: 'type.googleapis.com/google.rpc.RetryInfo', value }];
  const metadata = new grpc.Metadata();
  const status = protos.google.rpc.Status.encode({ code, message, details }).finish();
  metadata.set('grpc-status-details-bin', Buffer.from(status));
  return { code, details: message, metadata };
}
