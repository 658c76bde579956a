// Which curves each stage has, what they are called and measured in, and how to read them.

const both = (name) => [[`train.${name}`, 'Training', 'train'], [`val.${name}`, 'Validation', 'val']];

const RATE = {key: 'lr', title: 'Learning rate', unit: 'step size',
  help: 'Rises at the start, then falls to nothing.',
  series: [['lr', 'Learning rate', 'plain']]};
const SPEED = {key: 'speed', title: 'Speed', unit: 'images per second',
  help: 'Falls when pictures get larger or the machine is shared.',
  zero: true, series: [['images_per_second', 'Images per second', 'plain']]};

export const CURVES = {
  pretrain: [
    {key: 'loss', title: 'Loss', unit: 'nats per image', help: 'Reconstruction plus β times KL: lower is better.',
      series: both('loss')},
    {key: 'rec', title: 'Reconstruction term', unit: 'nats per image', series: both('rec'),
      help: 'How badly pictures are rebuilt: lower is better; it may be negative.'},
    {key: 'kl', title: 'KL term', unit: 'nats per image', zero: true, series: both('kl'),
      help: 'What the VAE writes down about a picture. Near zero it has stopped using its latent numbers.'},
    {key: 'dims', title: 'KL of each latent dimension', unit: 'nats', dims: true,
      help: 'Largest first. Dimensions at zero are not used. Click an epoch to show or hide it.'},
    {key: 'psnr', title: 'Likeness of reconstructions: PSNR', unit: 'dB', help: 'Higher is better.',
      series: [['val.psnr', 'Validation', 'val']]},
    {key: 'ssim', title: 'Likeness of reconstructions: SSIM', unit: 'SSIM, at most 1',
      help: 'Structure that is kept: higher is better.',
      series: [['val.ssim', 'Validation', 'val']]},
    {key: 'units', title: 'Dimensions in use', unit: 'dimensions', zero: true,
      help: 'Dimensions whose mean differs from picture to picture.',
      series: [['val.active_units', 'Validation', 'val']]},
    {key: 'beta', title: 'Weight of the KL term: β', unit: 'β', zero: true,
      help: 'Rises at the start so that the KL term does not choke the rest.',
      series: [['beta', 'β', 'plain']]},
    RATE, SPEED,
  ],
  train: [
    {key: 'loss', title: 'Loss', unit: 'focal loss, nats',
      help: 'Lower is better. Validation rising while training falls: overfitting.', series: both('loss')},
    {key: 'accuracy', title: 'Accuracy', unit: 'share of images', zero: true,
      help: 'Balanced accuracy counts every class alike, so a common class cannot carry it.',
      series: [...both('accuracy'), ['val.balanced_accuracy', 'Validation, balanced', 'val', 'dash']]},
    {key: 'gap', title: 'Gap in accuracy', unit: 'training − validation', line: 0,
      help: 'Large and growing: the model learns its pictures by heart.',
      series: [['accuracy_gap', 'Accuracy gap', 'gap']]},
    {key: 'lossgap', title: 'Gap in loss', unit: 'validation − training, nats', line: 0,
      help: 'The same in the loss; it often shows earlier.',
      series: [['loss_gap', 'Loss gap', 'gap']]},
    RATE, SPEED,
  ],
};
