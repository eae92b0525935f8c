/** Settings of a step as train_step_torch.py calls them. */
export function torchOptions(step) {
  return {
    beta1: step.beta1,
    beta2: step.beta2,
    epsilon: step.epsilon,
    generator_lr: step.generatorLearningRate,
    auxiliary_lr: step.auxiliaryLearningRate,
    guidance: step.guidance,
    init_ratio: step.initialMaskRatio,
    noise: step.noise,
    clip: step.clipNorm,
    smoothing: step.labelSmoothing,
    ema_decay: step.averageDecay,
  };
}
