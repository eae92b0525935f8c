/** A GPU that is lost, or reports an error of its own accord, must stop the run: tfjs would go on with zeros. */
import { DimoError, type CompiledFunction, type DeviceTree, type Engine } from '@dimo/core';

/** What is watched of a WebGPU device. */
export interface WatchedDevice extends EventTarget {
  readonly lost: Promise<{ readonly reason: string; readonly message: string }>;
  destroy(): void;
}

/** A watched device. */
export interface DeviceHealth {
  /** The engine, its calls failing with a `DimoError` of code `device` once the device is lost or reports an error. */
  guard(engine: Engine): Engine;
  /** Throws what the device has reported since the last call. For `EagerEngineHooks.beforeCommit`. */
  check(): void;
  destroy(): void;
}

/** Watches a device; `onLost` is called once. `engineName` is for messages. */
export function watchDevice(device: WatchedDevice, onLost: () => void, engineName = 'webgpu'): DeviceHealth {
  let loss: DimoError | undefined;
  let failure: DimoError | undefined;
  const lost: Promise<never> = device.lost.then(({ reason, message }) => {
    loss = new DimoError(
      'device',
      `${engineName} engine: the GPU device was lost (${reason}): ${message.split('\n')[0]}`,
      {
        hint: 'resume from the last checkpoint; if it happens again, lower the batch size or use another engine',
      },
    );
    onLost();
    throw loss;
  });
  lost.catch(() => {}); // reported by the calls
  device.addEventListener('uncapturederror', (event) => {
    event.preventDefault(); // else Dawn prints it as well
    const { message = 'unknown error' } = (event as Event & { error?: { message?: string } }).error ?? {};
    failure ??= new DimoError('device', `${engineName} engine: the GPU reported: ${message.split('\n')[0]}`, {
      hint: /memory/i.test(message) ? 'lower the batch size' : undefined,
    });
  });

  /** The result of a call, unless the device is lost meanwhile or has reported an error. */
  async function checked<T>(call: () => Promise<T>): Promise<T> {
    if (loss) throw loss;
    const result = await Promise.race([call(), lost]).catch((error: unknown) => {
      throw loss ?? error;
    });
    check();
    return result;
  }

  function check(): void {
    const error = loss ?? failure;
    failure = undefined;
    if (error) throw error;
  }

  function guardTree(tree: DeviceTree): DeviceTree {
    return {
      specs: tree.specs,
      download: (names) => checked(() => tree.download(names)),
      assign: (values) => checked(() => tree.assign(values)),
      dispose: async () => {
        if (!loss) await tree.dispose();
      },
    };
  }

  return {
    check,
    guard(engine) {
      const inner = new WeakMap<DeviceTree, DeviceTree>();
      return {
        info: engine.info,
        get makesRandomNumbers() {
          return engine.makesRandomNumbers ?? false;
        },
        async upload(values, options) {
          const tree = await checked(() => engine.upload(values, options));
          const guarded = guardTree(tree);
          inner.set(guarded, tree);
          return guarded;
        },
        async compile(fn, signature): Promise<CompiledFunction> {
          const compiled = await checked(() => engine.compile(fn, signature));
          return {
            signature: compiled.signature,
            run: (state, ...given) => checked(() => compiled.run(inner.get(state) ?? state, ...given)),
            dispose: () => compiled.dispose(),
          };
        },
        async dispose() {
          if (!loss) await engine.dispose();
        },
      };
    },
    destroy: () => device.destroy(),
  };
}
