"""Stage B of the registered multimodal method: structure map and lesion label to all modalities.

    x_i      real slice of modality i; each i of another patient           (M, B, 1, H, W)
    l_i      its label; mask_i its background
    f        structure map of one more slice, its lesion removed; mask its background
    l        a lesion label that lies inside that slice's brain             (B, H, W)
    EC, DC   encoder of an image; decoder of a code and a modality number
    EC_R     encoder of the fusion 0.2 onehot(l) + 0.8 f, one channel a class
    D, FD    critics of images (real or not; category c) and of codes
    SEG_i    guiding segmentors; JUDGE_i, which only ever judge

    code_i = EC(x_i)      x_r,i = DC(code_i, i)      x_t,i->j = DC(code_i, j)
    x_cr,j,i = DC(EC(x_t,i->j), i)
    code_g = EC_R(f, l)   x_g,i = DC(code_g, i)      x_gt,j->i = DC(EC(x_g,j), i)

    L_D  = sum_i d_real (D(x_i) - 1)^2 + d_category (c(x_i) - i)^2
         + sum_i!=j d_translated D(x_t,i->j)^2 + sum_i d_made D(x_g,i)^2
         + fd_made FD(code_g)^2 + sum_i fd_real (FD(code_i) - 1)^2
    L_G  = every term of `generator_loss`, named there; one step for all of them
    L_S  = sum_i sum_c w_c (onehot_c(l_i) - SEG_i(x_i)_c)^2, on real slices alone

"Pairs" are all pairs of made things that are to be alike. Sums run over modalities and pairs, means
over pixels. With `translations=one` each modality is translated to one other, drawn each step, and
the means are weighted as if all had been; pairs of translations do not occur then.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scansmith import losses
from scansmith.game import Player, Scene, Terms
from scansmith.methods.registered_settings import RegisteredNumbers
from scansmith.nets.fusion import CodeCritic, Decoder, Encoder, Segmentors, TwoHeadCritic
from scansmith.nets.norm_relu import start
from scansmith.nets.structure_map import soft_structure_map, structure_map

ONEHOT_SHARE, STRUCTURE_SHARE = 0.2, 0.8  # of the fusion, published code


class SynthesisStage(nn.Module):
    """Encoders, conditional decoder, critics and segmentors, with their players.

    Args:
        size: (H, W).
        modalities: M, 2 or more.
        classes: of the label, background included.
    """

    def __init__(
        self, numbers: RegisteredNumbers, size: tuple[int, int], modalities: int, classes: int
    ):
        super().__init__()
        self.numbers, self.weights = numbers, numbers.weights
        self.size, self.modalities, self.classes = size, modalities, classes
        base = numbers.base
        cap, dropout = numbers.cap, numbers.dropout
        norm = numbers.head_norm
        of_images = numbers.base_images or base
        self.encoder = Encoder(1, of_images, cap=cap, dropout=dropout)
        self.fusion_encoder = Encoder(classes, of_images, cap=cap, dropout=dropout)
        self.decoder = Decoder(
            1,
            of_images,
            conditions=modalities,
            conditional_norm=numbers.condition == "norm",
            head_norm=norm,
            cap=cap,
            dropout=dropout,
        )
        categories = 1 if numbers.category == "number" else modalities
        self.critic = TwoHeadCritic(categories, base, cap=cap, dropout=dropout)
        self.code_critic = CodeCritic(8 * of_images, base, cap=cap, dropout=dropout)
        self.segmentors, self.judges = (
            Segmentors(
                scheme,
                modalities,
                classes,
                base,
                head_norm=numbers.segmentor_norm,
                cap=cap,
                dropout=dropout,
            )
            for scheme in (numbers.scheme, "4seg")
        )
        generators = [self.encoder, self.fusion_encoder, self.decoder]
        generators += [self.segmentors, self.judges]
        start(generators, [self.critic, self.code_critic], numbers.init, numbers.norm_least)

    def fusion(self, f: Tensor, l: Tensor) -> Tensor:  # noqa: E741  (the paper's letter)
        """0.2 onehot(l) + 0.8 f, (B, classes, H, W): values 0, 0.2, 0.8 and 1."""
        hot = F.one_hot(l, self.classes).movedim(-1, 1).to(f.dtype)
        return ONEHOT_SHARE * hot + STRUCTURE_SHARE * f

    def encode(self, images: Tensor) -> Tensor:
        """EC of images with any leading axes, (..., 1, H, W) -> (..., 8 base, h, w)."""
        code = self.encoder(images.flatten(0, -4))
        return code.view(*images.shape[:-3], *code.shape[1:])

    def decode(self, codes: Tensor, targets: Tensor) -> Tensor:
        """DC of codes (N..., B, 8 base, h, w) to modalities (N...): (N..., B, 1, H, W)."""
        each = targets.unsqueeze(-1).expand(codes.shape[:-3]).flatten()
        made = self.decoder(codes.flatten(0, -4), self.size, each)
        return made.view(*codes.shape[:-3], 1, *self.size).float()

    def numbers_of(self, device: torch.device) -> Tensor:
        """0..M-1."""
        return torch.arange(self.modalities, device=device)

    def shifts(self) -> list[int]:
        """Modality i is translated to (i + shift) mod M, for each of these shifts."""
        if self.numbers.translations == "all":
            return list(range(1, self.modalities))
        return [int(torch.randint(1, self.modalities, ()))]

    def synthesised(self, f: Tensor, l: Tensor) -> tuple[Tensor, Tensor]:  # noqa: E741
        """code_g (B, 8 base, h, w) and all x_g,i (M, B, 1, H, W)."""
        code = self.fusion_encoder(self.fusion(f, l))
        every = code.expand(self.modalities, *code.shape)
        return code, self.decode(every, self.numbers_of(f.device))

    def play(
        self,
        x: Tensor,
        labels: Tensor,
        masks: Tensor,
        f: Tensor,
        l: Tensor,  # noqa: E741
        mask: Tensor,
        taught: tuple[Tensor, Tensor, Tensor],
    ) -> Scene:
        """Reconstruct, translate and translate back the real slices; synthesise and translate.

        Args:
            x, masks: (M, B, 1, H, W).
            labels: int64 (M, B, H, W).
            f, mask: (B, 1, H, W).
            l: int64 (B, H, W).
            taught: real slices (M, N, 1, H, W) that segmentors, and the decoder by `weights.own`,
                learn from; their labels (M, N, H, W); their structure maps without lesions.
        """
        own, shifts = self.numbers_of(x.device), self.shifts()
        to = torch.stack([(own + shift) % self.modalities for shift in shifts])  # S, M
        code = self.encode(x)
        every = code.expand(len(shifts) + 1, *code.shape)
        decoded = self.decode(every, torch.cat([own[None], to]))
        x_r, x_t = decoded[0], decoded[1:]
        code_t = self.encode(x_t)
        x_c = self.decode(code_t, own.expand(len(shifts), -1))
        code_g, x_g = self.synthesised(f, l)
        code_x = self.encode(x_g)
        x_gt = self.decode(code_x.expand(len(shifts), *code_x.shape), to)
        # Put at place i what was translated to i: that is what x_g,i is compared with.
        at = torch.stack([x_gt[n].roll(shift, 0) for n, shift in enumerate(shifts)])
        scene = {"x": x, "labels": labels, "masks": masks, "f": f, "l": l, "mask": mask}
        scene |= {"code": code, "x_r": x_r, "x_t": x_t, "code_t": code_t, "x_c": x_c}
        scene |= {"to": to, "code_g": code_g, "x_g": x_g, "code_x": code_x, "x_gt": at}
        shown, shown_l, shown_f = taught
        scene |= {"taught_x": shown, "taught_l": shown_l}
        if self.weights.own:
            codes = self.fusion_encoder(self.fusion(shown_f.flatten(0, 1), shown_l.flatten(0, 1)))
            scene["x_o"] = self.decode(codes.view(*shown.shape[:2], *codes.shape[1:]), own)
        return {f"B.{name}": tensor for name, tensor in scene.items()}

    def players(self) -> list[Player]:
        """Critics; all generators at once; segmentors and judges on real slices only."""
        rate, critics_rate = self.numbers.learning_rate, self.numbers.learning_rate_critic
        segmentors_rate = self.numbers.learning_rate_segmentors
        critics = (self.critic, self.code_critic)
        makers = (self.encoder, self.fusion_encoder, self.decoder)
        guides, judges = (self.segmentors,), (self.judges,)
        return [
            Player("D", critics, self.critic_loss, critic=True, learning_rate=critics_rate),
            Player("G", makers, self.generator_loss, learning_rate=rate),
            Player("S", guides, self.segmentor_loss, critic=True, learning_rate=segmentors_rate),
            Player("judges", judges, self.judge_loss, critic=True, learning_rate=segmentors_rate),
        ]

    def judged(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """D's two maps of images with any leading axes, which the maps keep."""
        real, category = self.critic(images.flatten(0, -4))
        lead = images.shape[:-3]
        return real.view(*lead, *real.shape[1:]), category.view(*lead, *category.shape[1:])

    def category_error(self, category: Tensor, targets: Tensor) -> Tensor:
        """Mean error of D's category maps (N..., B, c, h, w) for modalities (N...)."""
        if self.numbers.category == "number":
            wanted = targets[..., None, None, None, None].to(category.dtype)
            return losses.mse(category, wanted)
        each = targets.unsqueeze(-1).expand(category.shape[:-3]).flatten()
        logits = category.flatten(0, -4)
        return F.cross_entropy(logits, each[:, None, None].expand(-1, *logits.shape[-2:]))

    def critic_loss(self, scene: Scene) -> Terms:
        """L_D."""
        w, m = self.weights, self.modalities
        own = self.numbers_of(scene["B.x"].device)
        real, category = self.judged(scene["B.x"])
        translated, category_t = self.judged(scene["B.x_t"])
        made, category_g = self.judged(scene["B.x_g"])
        code_g = self.code_critic(scene["B.code_g"])
        code = self.code_critic(scene["B.code"].flatten(0, 1))
        terms = {
            "real": w.d_real * m * losses.mse(real, torch.ones_like(real)),
            "category": w.d_category * m * self.category_error(category, own),
            "translated": w.d_translated * m * (m - 1) * (translated**2).mean(),
            "made": w.d_made * m * (made**2).mean(),
            "fd_real": w.fd_real * m * losses.lsgan_generator(code),
            "fd_made": w.fd_made * (code_g**2).mean(),
        }
        if w.d_category_made:
            of_made = m * (m - 1) * self.category_error(category_t, scene["B.to"])
            of_made = of_made + m * self.category_error(category_g, own)
            terms["category_made"] = w.d_category_made * of_made
        return terms

    def generator_loss(self, scene: Scene) -> Terms:
        """All of L_G."""
        return self.translation_terms(scene) | self.synthesis_terms(scene)

    def translation_terms(self, scene: Scene) -> Terms:
        """Reconstruction, translation and cycle of real slices."""
        w, m = self.weights, self.modalities
        x, x_r, x_t, x_c = (scene[f"B.{name}"] for name in ("x", "x_r", "x_t", "x_c"))
        real, category = self.judged(x_t)
        code, code_t, ways = scene["B.code"], scene["B.code_t"], m * (m - 1)
        terms = {
            "adversarial_translated": w.adversarial_translated
            * ways
            * losses.lsgan_generator(real),
            "category_translated": w.category_translated
            * ways
            * self.category_error(category, scene["B.to"]),
            "rec": w.rec * m * losses.mse(x, x_r),
            "cycle": w.cycle * ways * losses.mse(x, x_c),
            "code": w.code * ways * losses.mse(code, code_t),
            "background_translated": w.background_translated
            * ways
            * ((x_t * scene["B.masks"]) ** 2).mean(),
            "background_rec": w.background_rec * m * ((x_r * scene["B.masks"]) ** 2).mean(),
        }
        if len(x_t) > 1:
            terms["cycle_pairs"] = w.cycle_pairs * m * losses.pairwise_mse(x_c)
            terms["code_pairs"] = w.code_pairs * m * losses.pairwise_mse(code_t)
        return terms

    def synthesis_terms(self, scene: Scene) -> Terms:
        """Images from structure map and label: real, registered, with lesion and structure."""
        w, m = self.weights, self.modalities
        x_g, x_gt, mask = scene["B.x_g"], scene["B.x_gt"], scene["B.mask"]
        real, category = self.judged(x_g)
        kept = (scene["B.l"] == 0).unsqueeze(1).to(x_g.dtype)
        wanted, found = scene["B.f"] * kept, self.structure_of(x_g) * kept
        code_g, code_x = scene["B.code_g"], scene["B.code_x"]
        terms = {
            "adversarial": w.adversarial * m * losses.lsgan_generator(real),
            "category": w.category * m * self.category_error(category, self.numbers_of(x_g.device)),
            "fd": w.fd * losses.lsgan_generator(self.code_critic(code_g)),
            "fd_code": w.fd_code
            * m
            * (self.code_critic(scene["B.code"].flatten(0, 1)) ** 2).mean(),
            "f": w.f * m * losses.mse(found, wanted),
            "f_pairs": w.f_pairs * losses.pairwise_mse(found),
            "lesion": w.lesion * self.lesion_error(self.segmentors, x_g, scene["B.l"]),
            "registration": w.registration * m * (m - 1) * losses.mse(x_gt, x_g),
            "code_made": w.code_made * m * losses.mse(code_x, code_g),
            "code_made_pairs": w.code_made_pairs * losses.pairwise_mse(code_x),
            "background": w.background
            * m
            * (((x_g * mask) ** 2).mean() + (m - 1) * ((x_gt * mask) ** 2).mean()),
        }
        if w.own:
            lesion = (scene["B.taught_l"] > 0).unsqueeze(2).to(x_g.dtype)
            error = (1 + (w.own_lesion - 1) * lesion) * (scene["B.taught_x"] - scene["B.x_o"]) ** 2
            terms["own"] = w.own * m * error.mean()
        if len(x_gt) > 1:
            terms["registration_pairs"] = w.registration_pairs * m * losses.pairwise_mse(x_gt)
        return terms

    def structure_of(self, images: Tensor) -> Tensor:
        """Structure maps of made images (M, B, 1, H, W), soft unless settings ask otherwise."""
        numbers, flat = self.numbers, images.flatten(0, -4)
        if numbers.f_loss == "hard":
            return structure_map(flat, numbers.beta, numbers.smooth).view(images.shape)
        soft = soft_structure_map(flat, numbers.beta, numbers.tau, numbers.smooth)
        return soft.view(images.shape)

    def lesion_error(self, segmentors: Segmentors, images: Tensor, labels: Tensor) -> Tensor:
        """Sum over modalities of `losses.class_mse`; labels (B, H, W) or (M, B, H, W)."""
        weights = self.weights
        classes = weights.guide_classes if segmentors is self.segmentors else weights.judge_classes
        of_each = labels.expand(self.modalities, *labels.shape[-3:])
        found = segmentors(images)
        return torch.stack(
            [losses.class_mse(a, b, classes) for a, b in zip(of_each, found, strict=True)]
        ).sum()

    def segmentor_loss(self, scene: Scene) -> Terms:
        """L_S of the guides: real slices and their labels."""
        return {
            "lesion": self.lesion_error(self.segmentors, scene["B.taught_x"], scene["B.taught_l"])
        }

    def judge_loss(self, scene: Scene) -> Terms:
        """L_S of the judges, whose word no generator hears."""
        return {"lesion": self.lesion_error(self.judges, scene["B.taught_x"], scene["B.taught_l"])}

    def found_by_judges(self, images: Tensor, labels: Tensor) -> Tensor:
        """Label-value Dice of the judges' label and a label, mean over modalities: (B,).

        Args:
            images: (M, B, 1, H, W).
            labels: (B, H, W), or (M, B, H, W).
        """
        found = self.judges(images).argmax(dim=2)
        each = labels.expand(self.modalities, *labels.shape[-3:])
        dice = [losses.label_value_dice(a, b) for a, b in zip(each, found, strict=True)]
        return torch.stack(dice).mean(dim=0)

    def watch(self, scene: Scene) -> dict[str, float]:
        """How often the critics are right, and what segmentors find."""
        x, x_g, l = scene["B.x"], scene["B.x_g"], scene["B.l"]  # noqa: E741
        (real, category), (made, _) = self.judged(x), self.judged(x_g)
        code, code_g = self.code_critic(scene["B.code"].flatten(0, 1)), scene["B.code_g"]
        shown = {"D": (real, made), "FD": (code, self.code_critic(code_g))}
        found = {}
        for name, pair in shown.items():
            on_real, on_fake = losses.accuracy(*pair, threshold=0.5)
            found[f"{name}.accuracy_real"] = float(on_real)
            found[f"{name}.accuracy_fake"] = float(on_fake)
        own = self.numbers_of(x.device).view(-1, 1, 1, 1)
        said = category.mean(dim=(-2, -1))
        said = said.argmax(-1) if said.shape[-1] > 1 else said.squeeze(-1).round()
        found["D.accuracy_category"] = float((said == own.flatten(1)).float().mean())
        found["judges.dice_real"] = float(self.found_by_judges(x, scene["B.labels"]).mean())
        found["judges.dice_made"] = float(self.found_by_judges(x_g, l).mean())
        return found
